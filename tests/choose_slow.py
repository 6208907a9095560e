"""Which tests are left out of the ordinary run: writes slow.txt from the durations of a whole one.

    pytest -m "slow or not slow" -q --durations 0 --durations-min 0.5 > durations.txt
    python tests/choose_slow.py durations.txt

Of each test the cheapest case stays in the ordinary run if it is affordable, and every case that is cheap; so that
nothing but what is dear throughout is left to `-m slow`. Without a cache of compiled programs, as in a fresh clone.
What a fixture takes is counted for the case that asks first: where cases share the runs of a dear figure, look at the
sum, and name all of them.
"""

import collections
import pathlib
import re
import sys

CHEAP = 1.2  # seconds of a case that always stays
AFFORDABLE = 4.0  # seconds of a test's cheapest case that stays
# What stays whatever it costs: each is the one test of its kind that a newcomer's first hour or a store's safety needs.
STAY = (
    "tests/cli/test_cli.py::test_main_job_at_smoke_size",
    "tests/cli/test_new.py::test_parts_pass_their_own_tests_and_those_fail_of_a_wrong_one",
    "tests/cli/test_train_command.py::test_train_writes_and_resume_goes_on",
    "tests/ensembles/test_durable.py::test_ten_kills_of_the_engine",
    "tests/ensembles/test_engines.py::test_a_killed_worker_is_replaced_and_the_numbers_are_those_of_memory[work_on_cluster]",
    "tests/ensembles/test_engines.py::test_a_killed_worker_is_replaced_and_the_numbers_are_those_of_memory[work_in_processes]",
    "tests/ensembles/test_sharding.py::test_processes[2-1]",
    "tests/results/test_store_kills.py::test_a_hundred_kills",
    "tests/papers/test_yu_staleness.py::test_claims_hold",
    "tests/papers/test_regatti_stability.py::test_claims_hold",
    "tests/test_docs.py::test_code_runs[docs/models.md]",
    "tests/test_docs.py::test_code_runs[docs/analysis.md]",
    "tests/test_docs.py::test_code_runs[docs/theory.md]",
    "tests/test_docs.py::test_code_runs[docs/files.md]",
    "tests/papers/test_breaks.py::test_wrong_models_break_again_what_the_record_says[bs-fig1]",
    "tests/papers/test_breaks.py::test_wrong_models_break_again_what_the_record_says[bs-fig1-easgd]",
    "tests/test_docs.py::test_code_runs[README.md]",
    "tests/test_notebooks.py::test_runs[01-first-steps]",
    "tests/training/test_training_loop.py::test_resume_equals_no_interruption",
)


def seconds(lines: list[str]) -> dict[str, float]:
    """What each test took, with its fixtures."""
    found = collections.Counter()
    for line in lines:
        if match := re.match(r"([0-9.]+)s (?:call|setup|teardown) +(\S.*)", line):
            found[match[2].strip()] += float(match[1])
    return found


def slow(taken: dict[str, float]) -> list[str]:
    """The cases that are left out."""
    functions = collections.defaultdict(list)
    for case, cost in taken.items():
        functions[case.partition("[")[0]].append((cost, case))
    out = []
    for cases in functions.values():
        (least, first), *others = sorted(cases)
        out += [first] if least >= AFFORDABLE else []
        out += [case for cost, case in others if cost >= CHEAP]
    return sorted(set(out) - set(STAY))


if __name__ == "__main__":
    taken = seconds(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    if unknown := set(STAY) - set(taken):
        sys.exit(f"not in {sys.argv[1]}: {sorted(unknown)}")
    chosen = slow(taken)
    folder = pathlib.Path(__file__).parent
    (folder / "slow.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    left = sum(taken.values()) - sum(taken[case] for case in chosen)
    print(f"{len(chosen)} cases of {sum(taken[case] for case in chosen):.0f} s are left out, {left:.0f} s stay")
