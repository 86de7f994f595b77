"""What `rackctl status` prints of the served paths."""

from rackctl.cli.out import summarize_paths


def test_a_folder_with_many_files_is_one_line() -> None:
    nodes = [f"http/boot/{number:02}" for number in range(20)]
    assert summarize_paths(["http/healthz", *nodes, "tftp/ipxe.efi"]) == [
        "http/healthz",
        "http/boot/ (20 files)",
        "tftp/ipxe.efi",
    ]


def test_a_folder_that_another_cuts_in_two_is_still_one_line() -> None:
    paths = [f"http/boot/a{number:02}" for number in range(20)]
    assert summarize_paths([*paths[:10], "http/boot/a09/sub", *paths[10:]]) == [
        "http/boot/ (20 files)",
        "http/boot/a09/sub",
    ]
