"""Secrets in every disguise that a support bundle can meet."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.mask import MASK, mask_text

CANARY = "c4n4ry-Zx9!q/w+8"


@pytest.mark.parametrize("text", [
    CANARY, f"a{CANARY}b", f"password: {CANARY}", json.dumps({"x": CANARY}), quote(CANARY, safe=""),
    base64.b64encode(CANARY.encode()).decode(), base64.b64encode(f"ab{CANARY} more".encode()).decode(),
    f"token={CANARY}&x=1"])  # fmt: skip
def test_a_known_secret_is_nowhere(text):
    out = mask_text(text, [CANARY + "\n"])
    assert MASK in out and CANARY not in out and quote(CANARY, safe="") not in out
    for start in range(len(out) - 15):
        assert CANARY[4:10].encode() not in _decode(out[start:])


def _decode(text):
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except ValueError:
        return b""


@pytest.mark.parametrize(("text", "kept"), [
    ("bmc_password: hunter2  # mine", "# mine"), ('{"api_key": "hunter2", "a": 1}', '"a": 1'),
    ("- K3S_TOKEN=hunter2", "K3S_TOKEN="), ("k3s.token=hunter2 quiet", "quiet"),
    ("join_token: 'hunter2'", "join_token"),
    ("https://me:hunter2@host/x", "host/x"), ("root:$6$salt$hunter2hunter2hunter2:1", ":1"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\nafter", "after"),
    ("snmp_community = hunter2", "snmp_community"), ("Authorization: hunter2", "Authorization")])  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text, kept):
    out = mask_text(text)
    assert "hunter2" not in out and kept in out and MASK in out


@pytest.mark.parametrize("text", ["mac: 52:54:00:00:00:01", "ssh_authorized_keys: [ssh-ed25519 AAAA me]", "a: {b: x}"])
def test_what_is_no_secret_stays(text):
    assert mask_text(text) == text


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text(text, secrets):
    mask_text(text, secrets)


@pytest.mark.parametrize("piece", [
    "a", "token", "token=", "token ", "x://", "x://a:", "'token': '", '"token": "', "$5$",
    "-----BEGIN A PRIVATE KEY-----", "password.", "é", "\\\""])  # fmt: skip
def test_what_a_machine_sends_is_masked_in_linear_time(piece):
    """64 kB of it took a minute and a half; any machine may send an inventory of that size."""
    text = piece * (65536 // len(piece))
    begun = time.process_time()
    mask_text(text)
    assert time.process_time() - begun < 1.0
