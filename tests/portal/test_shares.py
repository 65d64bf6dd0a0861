"""Caps with a part for each holder."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portal.identity import ANONYMOUS, Identity
from portal.shares import Full, Shares, holder_of, network_of


def test_a_holder_has_a_part_and_the_rest_is_for_others() -> None:
    shares = Shares(most=10, each=4)
    for _ in range(4):
        shares.take("ann")
    with pytest.raises(Full) as full:
        shares.take("ann")
    assert full.value.own
    assert full.value.most == 4
    shares.take("ben", 4)
    shares.take("cid", 2)
    with pytest.raises(Full) as full:
        shares.take("cid")
    assert not full.value.own
    assert full.value.most == 10


def test_what_is_given_back_can_be_taken_again_also_after_an_error() -> None:
    shares = Shares(most=1, each=1)
    with pytest.raises(ZeroDivisionError), shares.held("ann"):
        raise ZeroDivisionError
    with shares.held("ben"):
        assert shares.of("ben") == len(shares) == 1
    assert len(shares) == 0


def test_where_nobody_signs_in_only_the_cap_applies() -> None:
    shares = Shares(most=10, each=2)
    shares.take("", 10)
    with pytest.raises(Full) as full:
        shares.take("")
    assert not full.value.own


def test_a_refusal_keeps_no_entry_of_a_stranger() -> None:
    shares = Shares(most=1, each=1)
    shares.take("ann")
    for number in range(1000):
        with pytest.raises(Full):
            shares.take(f"address:{number}")
    assert "1 holders" in repr(shares)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_an_address_counts_as_the_network_of_one_customer(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_caller_counts_by_key_and_a_stranger_by_address() -> None:
    assert holder_of(Identity(id="ann", ip="192.0.2.7")) == "ann"
    assert holder_of(Identity(service_token_id="t1")) == "service:t1"
    assert holder_of(Identity(ip="192.0.2.7")) == "address:192.0.2.7"
    assert holder_of(ANONYMOUS) == "address:"
    assert holder_of(None) == ""


class TakeAndGiveBack(RuleBasedStateMachine):
    """Whatever is taken and given back, no part and no cap is passed, and the counts are those of a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares(most=12, each=5)
        self.taken: list[tuple[str, int]] = []

    @rule(holder=st.sampled_from(["", "ann", "ben", "cid"]), size=st.integers(1, 6))
    def take(self, holder: str, size: int) -> None:
        before = self.held(holder), self.total()
        try:
            self.shares.take(holder, size)
        except Full as full:
            assert full.own == bool(holder and before[0] + size > 5)
            assert full.own or before[1] + size > 12
        else:
            self.taken.append((holder, size))

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.taken:
            one = data.draw(st.sampled_from(self.taken))
            self.taken.remove(one)
            self.shares.give_back(*one)

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.shares) == self.total() <= 12
        for holder in ("ann", "ben", "cid"):
            assert self.shares.of(holder) == self.held(holder) <= 5

    def held(self, holder: str) -> int:
        return sum(size for who, size in self.taken if who == holder)

    def total(self) -> int:
        return sum(size for _, size in self.taken)


TestTakeAndGiveBack = TakeAndGiveBack.TestCase


def test_whoever_has_used_up_their_part_gives_way_to_themselves() -> None:
    shares = Shares(most=10, each=2)
    assert shares.gives_way("ann") is None
    shares.take("ann", 2)
    assert shares.gives_way("ann") == "ann"
    assert shares.gives_way("ben") is None


def test_where_all_is_taken_whoever_has_the_most_gives_way_but_to_nobody_who_has_as_much() -> None:
    shares = Shares(most=6, each=4)
    shares.take("ann", 4)
    shares.take("ben", 2)
    assert shares.gives_way("cid") == "ann" == shares.gives_way("ben")
    even = Shares(most=2, each=2)
    even.take("ann")
    even.take("ben")
    assert even.gives_way("cid") is None
    assert even.gives_way("ben") == "ben"


def test_where_nobody_signs_in_the_operator_gives_way_to_themselves() -> None:
    shares = Shares(most=3, each=1)
    shares.take("", 3)
    assert shares.gives_way("") == ""
