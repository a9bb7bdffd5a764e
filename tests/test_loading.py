"""The garbage collector while modules are imported."""

import gc

import pytest

from gateway.loading import uncollected


def test_the_collector_is_off_meanwhile_and_then_as_it_was():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
