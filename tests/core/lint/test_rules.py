import pytest

from rackctl.core.lint.rules import RULES, Rule
from rackctl.core.lint.text import fix_text, lint_text


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_bad_example_is_found_and_the_good_one_is_clean(rule: Rule) -> None:
    assert rule.code in {one.code for one in lint_text(rule.kind, rule.bad)}
    assert [one for one in lint_text(rule.kind, rule.good)] == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_finding_has_the_rules_severity_and_a_place_in_the_text(rule: Rule) -> None:
    lines = rule.bad.split("\n")
    for one in lint_text(rule.kind, rule.bad, "a.yml"):
        assert one.severity == RULES[one.code].severity
        assert one.file == "a.yml"
        assert 1 <= one.line <= len(lines)
        assert 1 <= one.column <= len(lines[one.line - 1]) + 1


@pytest.mark.parametrize("rule", [r for r in RULES.values()], ids=RULES)
def test_a_fix_removes_what_it_fixes_and_is_stable(rule: Rule) -> None:
    fixable = {one.code for one in lint_text(rule.kind, rule.bad) if one.fix}
    fixed, made = fix_text(rule.kind, rule.bad)
    assert bool(made) == bool(fixable)
    assert not fixable & {one.code for one in lint_text(rule.kind, fixed)}
    assert fix_text(rule.kind, fixed) == (fixed, 0)


def test_there_are_rules_enough_and_each_is_explained() -> None:
    assert len(RULES) >= 40
    for rule in RULES.values():
        assert len(rule.why) > 40, rule.code
        assert rule.bad != rule.good


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv"


@pytest.mark.parametrize(
    "text",
    [
        "# cloud-config\rhostname: a\r",
        "#cloud-config\n{ssh_authorized_keys: " + KEY + ", hostname: a}\n",
        "#cloud-config\n  ssh_authorized_keys: " + KEY + "\n  hostname: a\n",
        "#cloud-config\nhostname: &a 0123\nrancher: {defaults: {hostname: *a}}\n",
        "#cloud-config\nrancher:\n  sysctls: {a: 1}\n  sysctl: {b: 2}\n",
        "#cloud-config\nrancher: {debgu: [a]}\n",
        '#cloud-config\nwrite_files: [{path: /a, content: "x\u2028y"}]\nhostname: 0123\n',
        "#cloud-config\nwrite_files: [{path: /a, permissions: 0x1ff}]\n",
    ],
)
def test_a_fix_that_would_break_the_file_is_left_out(text: str) -> None:
    assert fix_text("cloud-config", text) == (text, 0)


def test_the_fixes_beside_one_that_is_left_out_are_made() -> None:
    text = "#cloud-config\nhostname: &a 0123\nrancher: {defaults: {hostname: *a}, console: 012}\n"
    assert fix_text("cloud-config", text) == (text.replace("012}", "'012'}"), 1)


def test_a_number_of_thousands_of_digits_is_read() -> None:
    assert (
        lint_text("cloud-config", "#cloud-config\nhostname: x\nrancher: {environment: {A: " + "9" * 6000 + "}}\n") == []
    )


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ("[url:http://h/a,b]", True),
        ("[url:http://h/c?n=1,2]", True),
        ("[url:http://h/a,ec2]", False),
        ("[url:http://h/c?mac=1, configdrive:/media/c, url:http://h/b]", False),
        ("[ec2,url:http://h/a]", False),
    ],
)
def test_a_comma_is_told_from_the_start_of_the_next_datasource(sources: str, told: bool) -> None:
    found = lint_text("kernel-line", f"console=ttyS0 rancher.cloud_init.datasources={sources}")
    assert [one.code for one in found] == (["KL003"] if told else [])
