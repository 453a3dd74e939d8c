"""Runs in an environment with the real multi-provider library: a router's completions, by a provider's stand-in."""

import json
import os
import sys

sys.path.insert(0, os.environ["CLIENT_SOURCE"])

import litellm
from agentloop_client import AgentLoop, Router

provider, server = os.environ["PROVIDER"], os.environ["SERVER"]
litellm.suppress_debug_info = True
loop = AgentLoop("al_key", server)
ASKED = [{"role": "user", "content": "SECRET question"}]


def complete(model, **more):
    router = Router("answer", [model], client=loop, success_when=lambda text: text == "SECRET answer")
    answer = router.completion(ASKED, api_key="sk-none", **more)
    return answer.choices[0].message.content


told = [
    complete("openai/gpt-4o", api_base=f"{provider}/v1"),
    complete("anthropic/claude-haiku-4-5", api_base=provider, max_tokens=100),
]
try:
    complete("openai/limited", api_base=f"{provider}/v1")
except litellm.RateLimitError:
    told.append("raised")
loop.close()
print(json.dumps(told))
