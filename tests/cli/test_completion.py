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


def test_zsh_has_one_and_others_are_refused(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef sdesim")
    assert main(["completion", "fish"]) == main(["completion"]) == 2
    assert "bash, zsh" in capsys.readouterr().err
