"""`sonotune check`: is this space sound, and what will it cost?"""

from rich.console import Console

from engine.cli.options import Profile, Set, Space
from engine.spec.load import load, refuse_empty


def check(space: Space, set_: Set = None, profile: Profile = None) -> None:
    """Validate a space, train a step of the smallest, largest and busiest model, project the cost."""
    study = load(space, profile, set_ or ())
    refuse_empty(study)
    from engine.sampler.designs import check_design

    check_design(study.fixed.search.sampler, study.space)
    from engine.driver.tracking import check_installed
    from engine.probe import probe

    check_installed(study.fixed.tracking)
    probe(study, Console(soft_wrap=True))
