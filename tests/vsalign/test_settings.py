import pytest

from vsalign.settings import DEFAULT_SMOOTH_TIME, ENGINES, MOST_ITERATIONS, PRECISIONS, SpatialSettings


def test_every_accepted_value_is_accepted_and_equal_settings_are_equal() -> None:
    for precision in PRECISIONS:
        assert SpatialSettings(precision=precision).precision == precision
    for engine in ENGINES:
        assert SpatialSettings(engine=engine).engine == engine
    assert SpatialSettings(iterations=MOST_ITERATIONS, engine="rife", weights="a", exact_peer=True).iterations == 20
    for alone in ({"weights": "a"}, {"exact_peer": True}):
        with pytest.raises(ValueError, match="engine is 'dense', accepted is engine 'rife' with it"):
            SpatialSettings(**alone)  # type: ignore[arg-type]
    assert SpatialSettings() == SpatialSettings(precision=3, engine="dense", iterations=1)
    assert hash(SpatialSettings()) == hash(SpatialSettings())
    assert SpatialSettings(lq_input=True) != SpatialSettings()
    assert (PRECISIONS, ENGINES, DEFAULT_SMOOTH_TIME) == ((1, 2, 3, 4), ("dense", "rife"), 12)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"precision": 0}, ValueError, "precision is 0, accepted is a whole number from 1 to 4"),
        ({"precision": 5}, ValueError, "precision is 5, accepted is a whole number from 1 to 4"),
        ({"precision": 2.0}, TypeError, "precision is 2.0, accepted is a whole number from 1 to 4"),
        ({"precision": True}, TypeError, "precision is True, accepted is a whole number from 1 to 4"),
        ({"precision": "3"}, TypeError, "precision is '3', accepted is a whole number from 1 to 4"),
        ({"iterations": 0}, ValueError, "iterations is 0, accepted is a whole number from 1 to 20"),
        ({"iterations": 21}, ValueError, "iterations is 21, accepted is a whole number from 1 to 20"),
        ({"iterations": None}, TypeError, "iterations is None, accepted is a whole number from 1 to 20"),
        ({"lq_input": 1}, TypeError, "lq_input is 1, accepted are True and False"),
        ({"wide_search": "no"}, TypeError, "wide_search is 'no', accepted are True and False"),
        ({"exact_peer": None}, TypeError, "exact_peer is None, accepted are True and False"),
        ({"engine": "Dense"}, ValueError, "engine is 'Dense', accepted are 'dense', 'rife'"),
        ({"engine": None}, ValueError, "engine is None, accepted are 'dense', 'rife'"),
        ({"weights": None}, TypeError, "weights is None, accepted is the path of a file as text"),
    ],
)
def test_what_cannot_be_is_named_with_its_value_and_what_is_accepted(settings, error, message: str) -> None:
    with pytest.raises(error) as raised:
        SpatialSettings(**settings)
    assert str(raised.value) == message


def test_settings_are_given_by_name_and_never_change() -> None:
    with pytest.raises(TypeError):
        SpatialSettings(3)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SpatialSettings().precision = 2  # type: ignore[misc]
