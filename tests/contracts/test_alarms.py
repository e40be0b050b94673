"""What holds for every alarm, and that the default set has each of them."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest

from domainmetric.alarms.base import Action, Alarm
from domainmetric.alarms.default import default_alarms
from domainmetric.alarms.sight import Sight
from domainmetric.errors import ConfigError
from tests.contracts.family import classes, members, named

alarms = pytest.mark.parametrize("alarm", members(Alarm), ids=named)


@alarms
def test_where_nothing_is_seen_nothing_is_found(alarm: Alarm) -> None:
    assert list(alarm.find(Sight(step=5, steps=10, terms={}, num_classes=4, read=True))) == []


@alarms
def test_it_says_what_it_means_and_what_to_try(alarm: Alarm) -> None:
    for sentence in (alarm.meaning, alarm.advice):
        assert sentence[0].isupper() and sentence.endswith((".", ".)")) and len(sentence) > 20
    assert (inspect.getdoc(type(alarm)) or "").strip()


@alarms
def test_it_has_the_actions_that_it_says_and_no_other(alarm: Alarm) -> None:
    cls: Any = type(alarm)
    for action in get_args(Action):
        if action in alarm.actions:
            assert cls(action=action).action == action
        else:
            with pytest.raises(ConfigError, match=f"action must be {alarm.actions[0]}.*, but is '{action}'"):
                cls(action=action)
    assert alarm.action == alarm.actions[0]


def test_each_is_on_unless_it_is_switched_off() -> None:
    assert {type(alarm) for alarm in default_alarms().values()} == set(classes(Alarm))
