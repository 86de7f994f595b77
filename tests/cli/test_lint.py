import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rackctl.cli import config, lint  # noqa: F401 their commands register themselves
from rackctl.cli.app import app

CASE = Path(__file__).parents[1] / "cases" / "config" / "rack"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbSmC9NwvqUcRYVOYSbfY9PyqR9X6SjwMtbqTj0zkWW"


def run(*argv: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(argv))
    return done.exit_code, done.stdout


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    for folder in ("keys", "secrets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "keys" / "ops.pub").write_text(f"{KEY} ops\n")
    for name in ("k3s", "rancher", "swarm", "kubeadm", "rke2", "talos"):
        (tmp_path / "secrets" / f"{name}-token").write_text(f"{name}-secret-value\n")
    (tmp_path / "secrets" / "console-password").write_text("0123\n")
    for file in (tmp_path / "secrets").iterdir():
        file.chmod(0o600)
    (tmp_path / "rack.lock").write_text(f'lock: 1\nreleases: []\nssh_keys: {{"github:octo": ["{KEY[:-2]}XX o"]}}\n')
    return tmp_path


def test_a_file_is_linted_and_mended(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("hostname: 0123\n")
    code, text = run("lint", str(file))
    assert code == 2
    assert f"{file}:1:1: CC001 error" in text
    assert "2 errors, 0 warnings; --fix mends 2" in text
    assert run("lint", str(file), "--fix")[0] == 0
    assert file.read_text() == "#cloud-config\nhostname: '0123'\n"


@pytest.mark.parametrize(("form", "holds"), [("github", "::error file="), ("sarif", '"ruleId": "CC001"')])
def test_the_forms_for_pipelines(tmp_path: Path, form: str, holds: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text("a: 1\n")
    code, text = run("lint", str(file), "--format", form)
    assert code == 2
    assert holds in text


def test_a_file_name_is_a_uri_in_sarif(tmp_path: Path) -> None:
    file = tmp_path / "a b#ü.yml"
    file.write_text("a: 1\n")
    result = json.loads(run("lint", str(file), "--format", "sarif")[1])["runs"][0]["results"][0]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == f"{tmp_path}/a%20b%23%C3%BC.yml"


def test_json_is_one_list_also_when_there_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("#cloud-config\nhostname: a\n")
    assert (json.loads(run("lint", str(file), "--format", "json")[1]), run("lint", str(file))[0]) == ([], 0)


def test_a_rack_is_linted_with_its_sources(rack: Path) -> None:
    code, text = run("lint", "--rack", str(rack))
    assert code == 2
    assert f"{rack}/config/state.yml:4:17: RK006 error: ros2" in text
    assert text.splitlines()[-1] == "1 error, 0 warnings"


def test_a_finding_in_a_rendered_file_is_told_at_its_source(rack: Path) -> None:
    with open(rack / "config" / "base.yml", "a") as file:
        file.write("- docker ps\n")
    assert f"{rack}/config/base.yml:10:1: CC403 error" in run("lint", "--rack", str(rack))[1]


def test_faults_of_rack_yml_are_findings_too(rack: Path) -> None:
    (rack / "rack.yml").write_text("server: {address: 10.98.0.300}\n")
    code, text = run("lint", "--rack", str(rack), "--format", "json")
    assert code == 2
    assert [(one["code"], one["line"]) for one in json.loads(text)] == [("RK001", 1)]


def test_no_secret_is_in_what_lint_says(rack: Path) -> None:
    with open(rack / "config" / "base.yml", "a") as file:
        file.write("- docker login -p !!\n- [a, 5]\n")
    assert "secret-value" not in run("lint", "--rack", str(rack))[1]


def test_config_show_tells_where_each_line_comes_from(rack: Path) -> None:
    text = run("config", "show", "ros1", "--origin", "--rack", str(rack))[1]
    told = dict(line.rsplit("  # ", 1) for line in text.splitlines() if "  # " in line)
    told = {key.strip(): value for key, value in told.items()}
    assert told["hostname: ros1"] == "rack.yml:24"
    assert told["live_restore: true"] == "config/base.yml:6"
    assert told[f"- {KEY} ops"] == "keys/ops.pub:1"
    assert told["k3s-agent:"] == "rack.yml:16"


def test_config_show_knows_macs_default_and_the_kernel_line(rack: Path) -> None:
    by_mac = run("config", "show", "52-54-00-00-00-01", "--rack", str(rack))[1]
    assert by_mac == run("config", "show", "ros1", "--rack", str(rack))[1]
    assert "set-hostname.sh" in run("config", "show", "--rack", str(rack))[1]
    assert "rancher.password='0123'" in run("config", "show", "ros1", "--kernel", "--rack", str(rack))[1].splitlines()


def test_explain_and_rules() -> None:
    assert "never starts" in run("lint", "--explain", "cc301")[1]
    assert len(run("lint", "--rules")[1].splitlines()) >= 40
