"""What can go wrong between a link and an answer, beside what is wrong with the link itself (agentloop.signing)."""

from agentloop.errors import Invalid, TooLarge


class NoRating(Invalid):
    """Please choose Yes, Partly or No."""

    code = "no_rating"


class TooQuick(Invalid):
    """That was very quick. Please look once more and send it again."""

    code = "too_quick"


class TooMuchText(TooLarge):
    """That is more text than fits."""
