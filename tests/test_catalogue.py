"""What tests ask for every rule, law or momentum of, has every one."""

import catalogue
import pytest

from sdesim import coupling, dynamics, noise
from sdesim.dynamics import AbstractMomentum


@pytest.mark.parametrize(
    ("made", "known"),
    [(catalogue.rules(6), coupling.RULES), (catalogue.laws(2), noise.LAWS)],
    ids=["rules", "laws"],
)
def test_nothing_of_the_registry_is_missing(made, known):
    assert {type(make()) for make in made.values()} == set(known.values())


def test_no_momentum_is_missing():
    known = {part for part in vars(dynamics).values() if isinstance(part, type) and issubclass(part, AbstractMomentum)}
    made = {type(make()) for name, make in catalogue.MOMENTA.items() if name != "none"}
    assert made == known - {AbstractMomentum}
