"""Log lines into events: pasted cases, and anything a hostile machine can write."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rackctl.core.events import Event, Stage, Unknown
from rackctl.core.httplog import parse_http_line
from rackctl.core.tftplog import parse_tftp_line

CASES = Path(__file__).parent.parent / "cases" / "events"
PARSERS = {"tftp": parse_tftp_line, "http": parse_http_line}
LINES = [
    pytest.param(kind, case["line"], case["gives"], id=f"{kind}-{n}")
    for kind in PARSERS
    for n, case in enumerate(YAML(typ="safe").load((CASES / f"lines-{kind}.yml").read_text()))
]


@pytest.mark.parametrize(("kind", "line", "gives"), LINES)
def test_a_pasted_line(kind, line, gives):
    text = json.dumps({"t": 1763930000.5, "line": line}) if kind == "tftp" and not line.startswith("{") else line
    found = PARSERS[kind](text)
    if gives in (None, "unknown"):
        assert isinstance(found, Unknown) if gives else found is None
        return
    assert isinstance(found, Event)
    said = found.to_json()
    detail = gives.pop("detail", {})
    assert {k: said[k] for k in gives} == gives
    assert {k: found.detail.get(k) for k in detail} == detail


def harmless(found):
    if isinstance(found, Event):
        texts = [*found.detail.values(), found.ip, found.mac or ""]
        assert found.start >= 0
        json.dumps(found.to_json(), allow_nan=False)
    else:
        texts = [found.text, found.why] if found else []
    assert all(t.isprintable() for t in texts)


@given(st.one_of(st.binary(), st.text(st.characters())))
def test_any_bytes(raw):
    for parse in PARSERS.values():
        harmless(parse(raw))


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(
        ["10.98.0.50", "GET", "OK", "/boot/default.ipxe", "/checkin?mac=52-54-00-12-34-56&hostname=%00%1b[31m",
         "/os//", "//[", "/config/x"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5)  # fmt: skip  # noqa: E501


KEYS = ["t", "line", "end", "ip", "m", "uri", "st", "sent", "len", "dur", "done"]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_types(thing):
    for parse in PARSERS.values():
        harmless(parse(json.dumps(thing)))


@given(st.sampled_from(["sent ", "failed sending ", "file ", "error 0 ", "DHCPACK(br0) ", "cannot access ", ""]), st.text(),  # noqa: E501
       st.sampled_from([" to 10.0.0.1", " not found for 10.0.0.1", " received from 10.0.0.1", ": x", ""]))  # fmt: skip
def test_any_wording(head, middle, tail):
    harmless(parse_tftp_line(json.dumps({"t": 1.0, "line": f"dnsmasq-tftp: {head}{middle}{tail}"})))


@given(st.text())
def test_any_uri(text):
    row = {"end": 9.0, "ip": "10.0.0.1", "m": "GET", "st": 200, "sent": 1, "len": "1", "dur": 0, "done": "OK"}
    for head in ("", "/boot/", "/os/", "/config/", "/checkin?mac=52-54-00-12-34-56&hostname="):
        harmless(parse_http_line(json.dumps({**row, "uri": head + text})))


@pytest.mark.parametrize("raw", ["[" * 60000, "9" * 60000, '{"t":' + "9" * 5000 + "}", '{"t":NaN,"line":"x"}', "x" * 10**6,  # noqa: E501
                                 '{"t":Infinity,"line":"x"}', '{"t":1e999,"line":"x"}', b"\xff\x00" * 99])  # fmt: skip
def test_hostile_lines_are_unknown(raw):
    for parse in PARSERS.values():
        assert isinstance(parse(raw), Unknown)


@pytest.mark.parametrize("field", ["uri", "range", "ua"])
def test_what_only_looks_like_json_is_unknown(field):
    texts = {"uri": "/checkin?mac=52-54-00-00-00-01&os=a", "range": "", "ua": "Wget"}
    line = ('{"end":5.0,"ip":"10.0.0.1","port":"1","m":"GET","uri":"%(uri)s","st":200,"sent":3,"len":"3",'
            '"range":"%(range)s","dur":0.000,"done":"OK","ua":"%(ua)s"}')  # fmt: skip
    assert isinstance(parse_http_line(line % texts), Event)
    texts[field] += "\x01"
    assert isinstance(parse_http_line(line % texts), Unknown)


def test_every_stage_has_a_sentence():
    assert all(stage.sentence for stage in Stage)
