"""Every setting that a space allows leads to a valid configuration, and the probes see all of its ends."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SonotuneError
from engine.sampler.designs import combinations
from engine.sampler.sampler import fits
from engine.spec.distribution import Choice, Int, Scalar
from engine.spec.load import study_of
from engine.spec.overrides import apply_overrides
from engine.spec.space import Space, without
from engine.spec.study import Study

NUMBERS = {"lambda": (0, 1), "gamma": (0, 10), "focal_gamma": (0, 10), "label_smoothing": (0, 0.9)}
WORDS = {
    "segmentation": ["dice", "focal", "dice_ce", "tversky"],
    "classification": ["focal", "cross_entropy"],
    "class_weights": ["none", "balanced", [1.0, 2.0, 3.0]],
}


@st.composite
def leaf(draw: st.DrawFn, low: float, high: float) -> Any:
    a, b = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True)))
    return draw(st.sampled_from([a, {"uniform": [a, b]}, {"choice": [a, b]}, {"choice": {"x": a, "y": b}}]))


@st.composite
def section(draw: st.DrawFn) -> dict[str, Any]:
    """A `loss` in which any leaf may be searched."""
    numbers = {name: leaf(*bounds) for name, bounds in NUMBERS.items()}
    words = {name: st.sampled_from([*of, {"choice": of}]) for name, of in WORDS.items()}
    return draw(st.fixed_dictionaries({}, optional=numbers | words))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Sections, branches within a section, variants over them."""
    document: dict[str, Any] = {"study": "property", "loss": draw(section())}
    if draw(st.booleans()):
        document["model"] = {"width": {"int": [4, 16, 4]}, "depth": {"choice": {"flat": 2, "deep": 3}}}
    if draw(st.booleans()):
        lr = {"choice": {"slow": 1e-4, "fast": {"loguniform": [1e-3, 1e-2]}}}
        document["train"] = {"lr": lr, "batch": {"int": [4, 16, 4]}}
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3))
    if names:
        document["variants"] = {
            name: draw(st.one_of(st.none(), st.builds(dict, loss=section()))) for name in names
        }
    return document


def drawn(space: Space, rng: random.Random) -> dict[str, Scalar]:
    """As a random sampler does it: dimension by dimension, each only where it exists."""
    params: dict[str, Scalar] = {}
    for dimension in space.dimensions:
        if dimension.active(params):
            params[dimension.name] = value_of(dimension.distribution, rng)
    return params


def value_of(distribution: Any, rng: random.Random) -> Scalar:
    if isinstance(distribution, Choice):
        return rng.choice(distribution.values)
    if isinstance(distribution, Int):
        return rng.randrange(distribution.low, distribution.high + 1, distribution.step)
    return rng.uniform(distribution.low, distribution.high)


@settings(max_examples=60, deadline=None)
@given(documents(), st.integers(0, 2**16))
def test_every_setting_leads_to_a_valid_configuration(document: dict[str, Any], seed: int) -> None:
    study = study_of(document, "space")
    params = drawn(study.space, random.Random(seed))
    configuration = study.configuration(params)
    assert len(configuration.config_id) == 10
    assert all(d.distribution.holds(params[d.name]) for d in study.space.active(params))
    assert study.configuration(params) == configuration


@settings(max_examples=60, deadline=None)
@given(documents())
def test_the_probes_see_every_end_of_every_dimension(document: dict[str, Any]) -> None:
    space = Space.of(document)
    probes = list(space.probes())
    seen = {(name, repr(value)) for params in probes for name, value in params.items()}
    wanted = {(d.name, repr(end)) for d in space.dimensions for end in d.distribution.ends()}
    assert wanted <= seen
    assert len({repr(params) for params in probes}) == len(probes)
    for params in probes:
        assert {d.name for d in space.active(params)} == set(params)


@settings(max_examples=40, deadline=None)
@given(documents(), st.integers(0, 2**16))
def test_a_start_of_any_setting_is_accepted(document: dict[str, Any], seed: int) -> None:
    params = drawn(Space.of(document), random.Random(seed))
    study = study_of(document | {"search": {"first": [params]}}, "space")
    assert study.first == (params,)


def study(**sections: Any) -> Study:
    return study_of({"study": "s", **sections}, "space")


def names(space: Space) -> list[str]:
    return [dimension.name for dimension in space.dimensions]


def test_a_branch_has_its_own_dimensions() -> None:
    own = {"cosine": "cosine", "plateau": "plateau"}
    space = study(
        train={"schedule": {"choice": own}, "lr": {"choice": {"a": 0.1, "b": {"uniform": [0.2, 1]}}}}
    ).space
    assert names(space) == ["train.schedule", "train.lr", "train.lr.b"]
    assert set(space.base({"train.lr": "a"})) == {"train.schedule", "train.lr"}
    assert space.sections({"train.schedule": "plateau", "train.lr": "b", "train.lr.b": 0.5}) == {
        "train": {"schedule": "plateau", "lr": 0.5}
    }


def test_a_branch_may_be_named_by_a_number() -> None:
    found = study(train={"batch": {"choice": {8: 8, 16: 16}}})
    assert found.configuration({"train.batch": "16"}).train.batch == 16
    space = study(train={"batch": {"choice": {8: 8, 16: {"int": [16, 32]}}}}).space
    assert set(space.base({"train.batch": "16"})) == {"train.batch", "train.batch.16"}


def test_a_list_may_be_chosen() -> None:
    found = study(loss={"class_weights": {"choice": ["none", [1, 2]]}})
    (dimension,) = found.space.dimensions
    assert dimension.distribution.ends() == ("none", "[1, 2]")
    assert found.configuration({"loss.class_weights": "[1, 2]"}).loss.class_weights == (1.0, 2.0)


def test_true_is_not_one() -> None:
    choice = {"choice": [1, True, "1"]}
    space = Space.of({"train": {"clip": choice}})
    got = [space.sections({"train.clip": value})["train"]["clip"] for value in (1, True, "1")]
    assert [repr(value) for value in got] == ["1", "True", "'1'"]


VARIANTS = {
    "a": {"loss": {"lambda": 0.3}},
    "b": {"loss": {"lambda": {"uniform": [0.5, 0.9]}}, "model": {"width": 8}},
    "c": None,
}


def test_a_variant_lies_over_the_common_sections() -> None:
    found = study(loss={"lambda": {"uniform": [0, 1]}, "gamma": {"uniform": [0, 2]}}, variants=VARIANTS)
    assert names(found.space) == ["variants", "loss.lambda", "loss.gamma", "variants.b.loss.lambda"]
    assert set(found.space.base({"variants": "a"})) == {"variants", "loss.gamma"}
    b = {"variants": "b", "loss.gamma": 1.0, "variants.b.loss.lambda": 0.6}
    assert found.configuration(b).loss.lambda_ == 0.6
    assert found.configuration(b).model.width == 8
    c = {"variants": "c", "loss.lambda": 0.1, "loss.gamma": 0.0}
    assert found.configuration(c).loss.lambda_ == 0.1


def test_a_start_names_a_variants_leaf_by_its_common_name() -> None:
    first = [{"variants": "b", "loss": {"lambda": 0.7}}]
    found = study(loss={"lambda": {"uniform": [0, 1]}}, variants=VARIANTS, search={"first": first})
    assert found.first == ({"variants": "b", "variants.b.loss.lambda": 0.7},)


def test_an_end_that_only_one_variant_refuses_is_found() -> None:
    variants = {"plain": None, "uncertain": {"loss": {"schedule": {"start": {"int": [-1, 4]}}}}}
    with pytest.raises(SonotuneError, match=r"loss.schedule.start: got -1.*with variants=uncertain"):
        study(variants=variants)


def test_a_start_that_contradicts_its_branch_is_refused() -> None:
    lr = {"choice": {"a": 0.1, "b": {"uniform": [0.2, 1]}}}
    first = [{"train.lr": "a", "train.lr.b": 0.5}]
    with pytest.raises(SonotuneError, match=r"train.lr.b does not exist beside"):
        study(train={"lr": lr}, search={"first": first})


def test_the_same_configuration_has_the_same_id_however_it_was_written() -> None:
    plain = study(loss={"lambda": 0.5}).configuration({})
    assert plain.config_id == study().configuration({}).config_id
    assert plain.config_id != study(loss={"lambda": 0.25}).configuration({}).config_id


def test_what_is_malformed_is_left_out_to_look_at_the_rest() -> None:
    tree = {"a": {"choice": {"x": {"b": 1}, "y": 2}}, "c": 3}
    assert without(tree, {"a.x.b", "c"}) == {"a": {"choice": {"x": {}, "y": 2}}}
    assert without(tree, {"a.x", "a.y"}) == {"a": None, "c": 3}


def test_an_override_goes_into_every_branch_it_names() -> None:
    document = {"model": {"choice": {"x": {"width": 4}, "y": {"width": 8}}}, "variants": {"a": None, "b": {}}}
    changed = apply_overrides(document, None, ["model.*.width=2", "variants.*.train.lr=1e-2"])
    assert changed["model"] == {"choice": {"x": {"width": 2}, "y": {"width": 2}}}
    assert changed["variants"] == {name: {"train": {"lr": 0.01}} for name in "ab"}
    assert document["variants"] == {"a": None, "b": {}}


@pytest.mark.parametrize(
    ("node", "count"),
    [({"uniform": [0, 1]}, float("inf")), ({"int": [1, 9, 4]}, 3), ({"choice": [1, 2]}, 2),
     ({"choice": {"a": 1, "b": {"int": [1, 3]}}}, 4)],
)  # fmt: skip
def test_a_space_knows_its_size(node: Any, count: float) -> None:
    assert Space.of({"train": {"x": node}, "loss": {"y": {"choice": [1, 2]}}}).size == 2 * count


FIRSTS = {
    "a list": ({"train": {"betas": {"choice": [[0.9, 0.999], [0.5, 0.9]]}}}, {"train.betas": [0.5, 0.9]}),
    "a mapping": ({"augment": {"crop": {"choice": [{"p": 0.5}, {"p": 1.0}]}}}, {"augment.crop": {"p": 0.5}}),
    "0 for 0.0": ({"loss": {"gamma": {"choice": [0, 0.1]}}}, {"loss.gamma": 0.0}),
    "a branch": (
        {"augment": {"crop": {"choice": {"b": {"p": 1.0}, "a": {"p": {"uniform": [0, 1]}}}}}},
        {"augment.crop.a.p": 0.5},
    ),
    "a numbered branch": (
        {"augment": {"crop": {"choice": {1: {"p": 1.0}, 2: {"p": 0.1}}}}},
        {"augment.crop": 1},
    ),
    "a variant": (
        {"variants": {"a": None, "b": {"loss": {"gamma": {"uniform": [0, 1]}}}}},
        {"variants.b.loss.gamma": 0.5},
    ),
}


@pytest.mark.parametrize("case", FIRSTS)
def test_a_first_configuration_may_be_written_as_the_space_is(case: str) -> None:
    changes, first = FIRSTS[case]
    document = {"study": "t", "model": {"name": "unet_mtl"}, "search": {"first": [first]}, **changes}
    study = study_of(document, "t")
    assert fits(study.space, study.space.base(study.first[0]))
    study.configuration(study.space.base(study.first[0]))


def test_a_space_is_as_large_as_its_grid_where_variants_hide_what_is_common() -> None:
    document = {
        "train": {"batch": {"choice": [2, 4]}, "lr": {"choice": [0.1, 0.2, 0.3]}},
        "variants": {"a": None, "b": {"train": {"batch": 8}}, "c": {"train": {"lr": {"choice": [0.4, 0.5]}}}},
    }
    space = Space.of(document)
    assert space.size == 6 + 3 + 4 == len(list(combinations(space.dimensions)))
