"""What is left out of the ordinary run."""


def test_every_slow_test_is_there(unknown_slow_tests):
    """Else a test that was renamed would come back into the ordinary run, and nobody would know why it is longer."""
    assert not unknown_slow_tests
