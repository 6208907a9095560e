"""`sdesim completion`: the script, in a shell."""

import shutil
import subprocess

import pytest

from sdesim.cli import COMMANDS, main
from sdesim.papers import EXPERIMENTS


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_figures_and_options(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    asked = [
        ["sdesim", ""],
        ["sdesim", "figure", "bs-"],
        ["sdesim", "figure", "bs-fig1", "--"],
        ["sdesim", "train", "--algo"],
    ]
    lines = ["source ./script"]
    for words in asked:
        quoted = " ".join(f"'{word}'" for word in words)
        lines += [
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()",
            "_tyro_sdesim",
            'echo "${COMPREPLY[@]}"',
        ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    commands, figures, options, algorithm = done.stdout.splitlines()
    assert set(COMMANDS) <= set(commands.split())
    assert set(figures.split()) == {name for name in EXPERIMENTS if name.startswith("bs-")}
    assert {"--preset", "--from", "--out", "--agents", "--loss.w1"} <= set(options.split())
    assert algorithm.split() == ["--algorithm"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_reads_its_script(tmp_path, capsys):
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef sdesim") and "bs-fig1" in script
    (tmp_path / "_sdesim").write_text(script)
    subprocess.run(["zsh", "-fn", "_sdesim"], cwd=tmp_path, check=True, timeout=60)


def test_fish_completes_likewise(tmp_path, capsys):
    assert main(["completion", "fish"]) == 0
    script = capsys.readouterr().out
    assert "complete -c sdesim -n '__fish_use_subcommand' -fa 'figure claims" in script
    in_figure = "'__fish_seen_subcommand_from figure; and __fish_seen_subcommand_from bs-fig1'"
    assert {f"complete -c sdesim -n {in_figure} -l {option} -r" for option in ("from", "out", "agents", "loss.w1")} <= {
        *script.splitlines()
    }
    assert f"complete -c sdesim -n {in_figure} -l preset -xa 'smoke default paper'" in script
    assert " -l figures" not in script  # which has no name on the command line
    if shutil.which("fish") is None:
        return
    (tmp_path / "script.fish").write_text(script)
    asked = ["sdesim ", "sdesim figure bs-", "sdesim figure bs-fig1 --preset s", "sdesim train --algo"]
    lines = "; ".join(["source script.fish", *(f"complete -C '{line}' | string join ' '" for line in asked)])
    done = subprocess.run(["fish", "-N", "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    commands, figures, preset, algorithm = done.stdout.splitlines()
    assert set(COMMANDS) <= set(commands.split())
    assert set(figures.split()) == {name for name in EXPERIMENTS if name.startswith("bs-")}
    assert (preset, algorithm) == ("smoke", "--algorithm")


def test_other_shells_are_refused(capsys):
    assert main(["completion", "tcsh"]) == main(["completion"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err
