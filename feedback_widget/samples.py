"""A link to a made-up answer, to see the form with."""

import time

from agentloop.keys import current_signing_secret
from agentloop.models import Project
from agentloop.signing import make_token

QUESTION = "When do you open on Sundays?"
RESPONSE = "We open at **noon** on Sundays and close at six. On other days we open at nine."


def sample_link(project: Project, user: str = "demo") -> str | None:
    """A link to a made-up answer, from this site's root; None without a key to sign it. It writes nothing."""
    key = current_signing_secret(project)
    if key is None:
        return None
    key_id, secret = key
    payload = {"k": key_id, "q": QUESTION, "a": RESPONSE, "u": user}
    return f"/f/{make_token(secret, payload, int(time.time()))}"
