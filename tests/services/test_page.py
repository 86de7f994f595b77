"""The status page in a real browser, served by microhttp, over what a follower wrote: hostile names above all."""

import contextlib
import json
import os
import re
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import chromium
import pytest
from chromium import browse
from waiting import wait_for

from rackctl.adapters.imagebuild import build_image
from rackctl.core.events import Stage
from rackctl.core.status import Known
from rackctl.follow import Follower, write_aside
from services import docker, make_work, running

pytestmark = pytest.mark.engine
TOP = Path(__file__).parents[2]
HOSTILE = ['<img src=x onerror="document.title=1">', "<script>document.title='owned'</script>", "\u202eevil\u202c",
           "x" * 10_000, "javascript:alert(1)", "</li></ul><h1>big</h1>", "{{7*7}}", "' onclick='x",
           "\u0646\u0648\u062f\u200e", "&lt;b&gt;"]  # fmt: skip
TAGS = {"html", "head", "meta", "title", "link", "script", "body", "a", "header", "h1", "p", "dl", "div", "dt", "dd",
        "form", "label", "input", "select", "option", "noscript", "main", "section", "h2", "ul", "li", "button", "span",
        "svg", "rect", "ol", "dialog", "code"}  # fmt: skip
NAMES = {f"52:54:00:00:00:{n:02x}": f"node{n}" for n in range(1, 8)}
# The linter's view of a config, as `rackctl up` leaves it for the page; its words come from the config.
FINDING = f"mine.yml:2:1: CC404: runcmd: {HOSTILE[0]} does not end{HOSTILE[5]}"


def http_row(at, ip, uri, status=200, sent=5, length=5, dur=0.5, method="GET"):
    return {"end": at, "ip": ip, "port": "1", "m": method, "uri": uri, "st": status, "sent": sent, "len": str(length),
            "range": "", "dur": dur, "done": "OK" if sent == length else "", "ua": ""}  # fmt: skip


def boot(n, at, *, slow=1.0, cut=False, up=True, os="discovery", last=""):
    """The log lines of one boot of node n; last: after which stage none follows."""
    mac, ip = f"52-54-00-00-00-{n:02x}", f"10.98.106.{n}"
    yield "tftp", {"t": at, "line": f"dnsmasq-tftp: sent /srv/current/tftp/snponly.efi to {ip}"}
    yield "http", http_row(at + 2, ip, f"/boot/{mac}.ipxe?mac={mac}&platform=efi")
    yield "http", http_row(at + 4 * slow, ip, f"/os/{os}/b/vmlinuz?m={mac}", 200, 12171200, 12171200, 1.5)
    if cut:
        yield "http", http_row(at + 7, ip, f"/os/discovery/b/initrd?m={mac}", 200, 4_000_000, 10_000_000, 2)
        return
    yield "http", http_row(at + 9 * slow, ip, f"/os/{os}/b/initrd?m={mac}", 200, 18138077, 18138077, 4 * slow)
    if not up:
        return
    yield "http", http_row(at + 20 * slow, ip, f"/config/{mac}")
    if last != "config":
        yield "http", http_row(at + 24 * slow, ip, f"/checkin?mac={mac}&hostname=node{n}&os=discovery&uptime=12")


def hostile(at):
    """Machines that are not in rack.yml and whose names are attacks, by check-in and by inventory."""
    from urllib.parse import quote

    for n, name in enumerate(HOSTILE):
        mac = f"52-54-00-00-01-{n:02x}"
        said = quote(name)[:7000]
        yield "http", http_row(at + n, "10.98.106.99", f"/checkin?mac={mac}&hostname={said}&os={said}")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    chromium.image()  # built first: what the page calls live is at most 30 s old
    build_image("microhttp", print)
    work = make_work(tmp_path_factory.mktemp("page"))
    now = time.time()
    rows = [row for age in range(12) for row in boot(1, now - 6000 + 400 * age, slow=1 + age % 3 / 5)]
    rows += [
        *boot(2, now - 900),
        *boot(3, now - 400, cut=True),
        *boot(4, now - 25, up=False),
        *hostile(now - 300),
        *boot(6, now - 2000, last="config"),
        *boot(7, now - 700, os="talos", last="config"),
    ]
    rows.sort(key=lambda row: row[1].get("t") or row[1]["end"])
    for log, row in rows:
        with open(work / f"logs/{log}.jsonl", "a") as handle:
            handle.write(json.dumps(row) + "\n")
    (work / "logs/http.jsonl").chmod(0o666)  # nginx is nobody
    inventory = {"schema": 1, "mac": "52:54:00:00:00:01", "system": {"vendor": "Dell Inc.", "product": "PowerEdge R640",
                 "serial": "<b>7XK</b>"}, "memory": {"bytes": 2**36}, "cpu": {"threads": 40},
                 "disks": [{"name": "sda", "bytes": 480 * 10**9}], "bmc": {"address": "10.98.106.201"}}  # fmt: skip
    (work / "inventory/52-54-00-00-00-01.json").write_text(json.dumps(inventory))
    (work / "state/installed/52-54-00-00-00-02").touch()
    for name in ("index.html", "page/status.css", "page/status.js", "page/icon.svg"):
        file = work / "served/current/http" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((TOP / "www" / name).read_bytes())
    known = Known(names=NAMES, silent={"talos": Stage.INITRD}, configured=["52-54-00-00-00-07"],
                  findings={"52-54-00-00-00-06": [FINDING]})  # fmt: skip
    follower = Follower(work, known)
    follower.write(time.time(), follower.read(float("inf")))
    with running("microhttp", work, ["STATUS_ALLOW=127.0.0.0/8 172.16.0.0/12 10.0.0.0/8 192.168.0.0/16"]) as service:
        assert wait_for(service.up), docker("logs", service.name)
        yield service


class Text(HTMLParser):
    """The tags with their attributes, and the text, of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@contextlib.contextmanager
def following(file):
    """status.json, its time kept the present one as a follower does: a browser may take a minute to look at it."""
    whole, ended = json.loads(file.read_text()), threading.Event()

    def write():
        while not ended.wait(1):
            write_aside(file, json.dumps({**whole, "time": time.time()}).encode())

    thread = threading.Thread(target=write)
    write_aside(file, json.dumps({**whole, "time": time.time()}).encode())
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def browse_until(said, url):
    """The page once it says that: on a busy machine the browser may write it down before its first answer came."""
    for _ in range(5):
        shown = browse(url, "--dump-dom")
        if said in shown:
            break
    return shown


@pytest.fixture(scope="module")
def dom(page):
    with following(page.work / "status/status.json"):
        return browse_until("Live, as of", f"http://{page.ip}:8080/")


def test_what_machines_say_is_shown_as_text(dom):
    found = Text(dom)
    assert "<title>rackctl</title>" in dom
    assert {tag for tag, _ in found.tags} <= TAGS
    assert [attrs for tag, attrs in found.tags if tag == "script"] == [{"src": "/page/status.js", "defer": ""}]
    assert not [attrs for _, attrs in found.tags if any(name.startswith("on") or name == "style" for name in attrs)]
    links = [attrs["href"] for _, attrs in found.tags if "href" in attrs]
    assert links == ["/page/icon.svg", "/page/status.css", "#nodes"]
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[5]):
        assert name in found.text
    assert "<b>7XK</b>" in found.text and "\u202e" not in found.text
    assert "x" * 301 not in found.text
    assert "Live, as of" in found.text
    for said in ("node1", "node2", "stuck", "booting", "not booted yet", "cut off at 40 %", "Dell Inc. PowerEdge R640",
                 "loaded", "talos"):  # fmt: skip
        assert said in found.text


def test_a_click_shows_the_timeline(page):
    found = Text(browse_until("What to do:", f"http://{page.ip}:8080/#node=52%3A54%3A00%3A00%3A00%3A03"))
    assert ("dialog", {"id": "detail", "aria-labelledby": "detail-title", "open": ""}) in found.tags
    for said in ("initrd (failed)", "Usual causes:", "What to do:", "3.8 MiB"):
        assert said in found.text


def test_the_linter_s_view_is_shown_and_stays_text(page):
    """Of the machine that fetched its config and never came up; its words are the config's."""
    found = Text(browse_until("its config has faults", f"http://{page.ip}:8080/#node=52%3A54%3A00%3A00%3A00%3A06"))
    assert f"Usual causes: its config has faults: {FINDING}" in found.text
    assert {tag for tag, _ in found.tags} <= TAGS | {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert not [attrs for _, attrs in found.tags if any(name.startswith("on") for name in attrs)]


def test_it_says_when_what_it_knows_is_old(page):
    file = page.work / "status/status.json"
    whole = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(whole), "live": False, "time": 1763930000}))
        off = "Live updates are off. This was known at"
        assert off in Text(browse_until(off, f"http://{page.ip}:8080/")).text
    finally:
        file.write_text(whole)


def test_it_names_everything_for_those_who_cannot_see_it(dom):
    found = Text(dom)
    images = [attrs for tag, attrs in found.tags if tag == "svg"]
    assert images and all(attrs.get("aria-label") or attrs.get("aria-hidden") for attrs in images)
    labels = {attrs.get("for") for tag, attrs in found.tags if tag == "label"}
    inputs = {attrs["id"] for tag, attrs in found.tags if tag in ("input", "select")}
    assert inputs <= labels
    assert found.tags[0] == ("html", {"lang": "en"})
    assert [attrs for tag, attrs in found.tags if tag == "p" and attrs.get("role") == "status"]


def _luminance(color):
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_words_stand_out_in_both_schemes():
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    css = (TOP / "www/page/status.css").read_text()
    schemes = re.findall(r":root \{([^}]*)\}", css)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        colors = {k: v if len(v) == 7 else "#" + "".join(c * 2 for c in v[1:]) for k, v in colors.items()}
        for ink in ("text", "dim", "done", "running", "stuck", "never"):
            for paper in ("card", "back"):
                light, dark = sorted((_luminance(colors[ink]), _luminance(colors[paper])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_nothing_comes_from_elsewhere():
    for file in (TOP / "www").rglob("*"):
        if file.suffix in (".html", ".css", ".js"):
            text = file.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", text)
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


@pytest.mark.parametrize(("name", "options"), [
    ("light", ["--window-size=1280,900"]),
    ("dark", ["--window-size=1280,900", "--blink-settings=preferredColorScheme=0"]),
    ("phone", ["--window-size=500,900"])])  # fmt: skip
def test_pictures(page, tmp_path, name, options):
    """UPDATE_GOLDEN=1 writes the pictures of docs/; else one must only be made."""
    if name != "light" and not os.environ.get("UPDATE_GOLDEN"):
        pytest.skip("only for the pictures of docs/: UPDATE_GOLDEN=1")
    tmp_path.chmod(0o777)
    url = f"http://{page.ip}:8080/" + ("#node=52%3A54%3A00%3A00%3A00%3A01" if name == "phone" else "")
    browse(url, f"--screenshot=/out/{name}.png", *options, mount=tmp_path)
    picture = (tmp_path / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    if os.environ.get("UPDATE_GOLDEN"):
        (TOP / "docs/images").mkdir(exist_ok=True)
        (TOP / f"docs/images/status-{name}.png").write_bytes(picture)
