"""What a site has to be paid for a period, from the contract alone, in exact decimals."""

from __future__ import annotations

from fractions import Fraction

from clinragen.ledger.entries import Contract, Item

MOST_DECIMALS = 12


def due(contract: Contract, item: Item, delivered: int) -> str:
    """Money for a period, as an entry writes it.

    The whole reward if as many updates were delivered as promised; else the share of it that was delivered. Both are
    rounded down to the decimals of the contract.

    Args:
        contract: whose item it is.
        item: what the site chose.
        delivered: rounds of the period to whose aggregate it contributed.

    >>> offer = Item("monthly", frequency="3", reward="10")
    >>> [due(Contract([offer], 1, 12, decimals=2), offer, delivered) for delivered in (0, 1, 3, 5)]
    ['0', '3.33', '10', '10']
    """
    promised, reward = Fraction(item.frequency), Fraction(item.reward)
    if delivered < promised:
        reward = reward * delivered / promised
    return as_amount(reward, contract.decimals)


def as_amount(number: Fraction, decimals: int) -> str:
    """A number of at least 0 in decimal digits, rounded down.

    >>> as_amount(Fraction(17, 4), 1), as_amount(Fraction(30), 2)
    ('4.2', '30')
    """
    whole, remainder = divmod(int(number * 10**decimals), 10**decimals)
    digits = f"{remainder:0{decimals}}".rstrip("0") if decimals else ""
    return f"{whole}.{digits}" if digits else f"{whole}"
