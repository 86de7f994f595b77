from rackctl.core.catalog import Catalog
from rackctl.core.config.sources import Inputs
from rackctl.core.lint.run import lint_rack

HEAD = "server: {address: 10.98.0.1}\nos: {name: %s}\nconfig: [a.yml]\nnodes:\n  n1:\n    mac: '52:54:00:12:34:56'\n"
ROS, DEBIAN = HEAD % "rancheros, version: v1.5.8", HEAD % "debian, version: '13'"


def lint(rack: str, texts: dict[str, str], secret: str = "canary-abcdefgh") -> list[tuple[str, str, int, int, str]]:
    given = Inputs(texts, {"s": secret}, {}, rack)
    found = lint_rack(rack, given, Catalog())
    return [(one.code, one.file, one.line, one.column, one.message) for one in found]


def test_what_merging_hides_is_found_in_its_source() -> None:
    text = (
        "write_files:\n- {path: /a, permissions: 0644, content: a}\n"
        "rancher: {debug: true}\nrancher: {environment: {A: 010}}\n"
    )
    rack = ROS + "    config: [b.yml.j2, {rancher: {environment: {B: 1.10}}}]\n"
    found = lint(rack, {"a.yml": text, "b.yml.j2": "{% if node %}\nhostname: 007\n{% endif %}\n"})
    places = {one[:4] for one in found if one[0] not in ("RK009",)}
    assert places == {
        ("CC210", "a.yml", 2, 27), ("CC008", "a.yml", 4, 1), ("CC201", "a.yml", 4, 28),
        ("CC201", "b.yml.j2", 2, 11), ("CC201", "rack.yml", 7, 52),
    }  # fmt: skip


def test_a_line_of_rack_yml_can_be_silenced() -> None:
    rack = ROS + "    config: [{rancher: {environment: {B: 1.10}}}]  # rackctl: ignore CC201\n"
    assert "CC201" not in {one[0] for one in lint(rack, {"a.yml": "hostname: n1\n"})}


def test_a_mode_that_another_system_gets_right_is_no_fault() -> None:
    text = "write_files:\n- {path: /a, permissions: 0644, content: a}\n"
    assert "CC210" not in {one[0] for one in lint(DEBIAN, {"a.yml": text})}


def test_no_finding_tells_a_secret() -> None:
    for secret in ("canary-abcdefgh", "canary-abcdefgh" * 20, "canary-'\"\\"):
        for source in (
            "rancher: {ssh: {port: !secret s}}", "hostname: !secret s", "rancher: {debug: !secret s}",
            "rancher: {password: !secret s}", "rancher: {services: {w: {image: !secret s}}}", "bootcmd: [!secret s]",
            "write_files: [{path: !secret s}]", "ssh_authorized_keys: [!secret s]", "mounts: [[!secret s]]",
        ):  # fmt: skip
            found = lint(ROS + f"    config: [{{{source}}}]\n", {"a.yml": "rancher: {debug: true}\n"}, secret)
            assert "canary" not in str(found), source


def test_a_rack_with_every_service_and_icon_is_linted() -> None:
    more = "mac: {bsdp: true, icon_per_os: true, form: both}\nstatus: true\n"
    rack = ROS.replace("config: [a.yml]\n", more) + "    mac_model: Macmini6,2\n"
    assert {one[0] for one in lint(rack, {})} <= {"RK009"}
