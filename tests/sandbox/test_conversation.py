"""The steps of a run as the host's side keeps them, without any guest."""

import pytest

from sandbox import Completed, Conversation, GuestAbiError, IsolateClosed, Limits, LocalStateError, Settlement, State
from tests.sandbox.programs import NOW, SEED

SUSPENDED = b'["suspended",[[1,"a",null,1]],null,[]]'
DONE = b'["completed",true,1,[],[]]'


def begun() -> Conversation:
    conversation = Conversation(Limits())
    conversation.start("1", NOW, SEED)
    return conversation


def state(conversation: Conversation) -> State:
    """Read anew, whatever the type checker remembers."""
    return conversation.state


def test_a_run_goes_from_new_to_its_end() -> None:
    conversation = Conversation(Limits())
    assert state(conversation) is State.NEW
    conversation.start("1", NOW, SEED)
    assert state(conversation) is State.RUNNING
    conversation.receive(SUSPENDED)
    assert (state(conversation), conversation.waiting) == (State.SUSPENDED, {1})
    conversation.resume([Settlement.value(1, None)], NOW)
    assert (state(conversation), conversation.waiting) == (State.RUNNING, set())
    assert conversation.receive(DONE) == Completed(1)
    assert state(conversation) is State.ENDED


def test_steps_out_of_order_are_refused() -> None:
    with pytest.raises(LocalStateError, match="is new, this needs one that is suspended"):
        Conversation(Limits()).resume((), NOW)
    conversation = begun()
    with pytest.raises(LocalStateError):
        conversation.start("1", NOW, SEED)
    conversation.receive(DONE)
    for step in (lambda: conversation.resume((), NOW), lambda: conversation.receive(DONE)):
        with pytest.raises(LocalStateError):
            step()


def test_a_closed_conversation_says_so() -> None:
    conversation = begun()
    conversation.close()
    with pytest.raises(IsolateClosed):
        conversation.receive(DONE)


def test_a_refused_settlement_changes_nothing() -> None:
    conversation = begun()
    conversation.receive(SUSPENDED)
    for wrong in ([Settlement.value(2, None)], [Settlement.value(1, None)] * 2, [Settlement.value(1, object())]):
        with pytest.raises(LocalStateError):
            conversation.resume(wrong, NOW)
        assert (state(conversation), conversation.waiting) == (State.SUSPENDED, {1})


def test_a_guest_that_waits_for_nothing_broke_its_contract() -> None:
    with pytest.raises(GuestAbiError, match="nothing to wait for"):
        begun().receive(b'["suspended",[],null,[]]')


def test_nonsense_ends_the_conversation() -> None:
    conversation = begun()
    with pytest.raises(GuestAbiError):
        conversation.receive(b"nonsense")
    assert state(conversation) is State.ENDED


def test_a_thawed_run_knows_only_what_it_waits_for() -> None:
    conversation = Conversation(Limits(), waiting=(3, 5))
    conversation.resume([Settlement.value(5, None)], NOW)
    conversation.receive(b'["suspended",[[9,"x",null,1]],null,[]]')
    assert conversation.waiting == {3, 9}
    conversation.resume([Settlement.value(3, None)], NOW)
    with pytest.raises(GuestAbiError, match="out of turn"):
        conversation.receive(b'["suspended",[[12,"x",null,1]],null,[]]')
