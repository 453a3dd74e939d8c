"""Runs in an environment with the real libraries: calls a provider's stand-in, and prints what `on_call` was told."""

import asyncio
import json
import os
import sys

sys.path.insert(0, os.environ["CLIENT_SOURCE"])

import anthropic
import openai
from agentloop_client import AgentLoop, AsyncAgentLoop
from agentloop_client.ext import anthropic as of_anthropic
from agentloop_client.ext import openai as of_openai
from agentloop_client.ext.langchain import AgentLoopCallback
from agentloop_client.ext.opentelemetry import AgentLoopSpanProcessor
from langchain_core.language_models import FakeListChatModel
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

provider, server = os.environ["PROVIDER"], os.environ["SERVER"]
told = []
loop = AgentLoop("al_key", server)
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
ASKED = [{"role": "system", "content": "SECRET system"}, {"role": "user", "content": "SECRET question"}]


def on_call(call):
    told.append([call.provider, call.model, call.question, call.text, call.tool_calls, call.tokens_in, call.tokens_out,
                 call.failure_category])  # fmt: skip


def on_openai(client):
    create = client.chat.completions.create
    create(model="plain", messages=ASKED)
    create(model="tools", messages=ASKED, tools=TOOLS)
    for stream in ("plain", "tools"):
        assert len(list(create(model=stream, messages=ASKED, stream=True))) > 2
    with create(model="left early", messages=ASKED, stream=True) as stream:
        next(iter(stream))
    try:
        create(model="limited", messages=ASKED)
    except openai.RateLimitError:
        told.append("raised")


async def on_async(client, loop):
    await client.chat.completions.create(model="plain", messages=ASKED)
    stream = await client.chat.completions.create(model="plain", messages=ASKED, stream=True)
    told.append(len([piece async for piece in stream]) > 2)


def on_responses(client):
    create = client.responses.create
    create(model="plain", input="SECRET question")
    create(
        model="tools", input=ASKED, tools=[{"type": "function", "name": "look_up", "parameters": {}, "strict": False}]
    )
    for model in ("plain", "tools"):
        assert len(list(create(model=model, input=ASKED, stream=True))) > 5
    with client.responses.stream(model="plain", input=ASKED) as stream:
        assert stream.get_final_response().output_text == "SECRET answer"
    assert client.responses.parse(model="plain", input=ASKED).output_parsed is None
    assert client.responses.with_raw_response.create(model="plain", input=ASKED).parse().output_text == "SECRET answer"
    with create(model="left early", input=ASKED, stream=True) as stream:
        next(iter(stream))
    create(model="failed", input=ASKED)
    list(create(model="failed", input=ASKED, stream=True))
    try:
        create(model="limited", input=ASKED)
    except openai.RateLimitError:
        told.append("raised")


async def on_responses_async(client, loop):
    whole = await client.responses.create(model="plain", input=ASKED)
    async for _ in await client.responses.create(model="plain", input=ASKED, stream=True):
        pass
    async with client.responses.stream(model="plain", input=ASKED) as stream:
        final = await stream.get_final_response()
    await client.responses.create(model="tools", input=ASKED)
    told.append([whole.output_text, final.output_text])


def on_anthropic(client):
    said = {"max_tokens": 100, "messages": ASKED[1:]}
    client.messages.create(model="plain", **said)
    client.messages.create(model="tools", **said)
    for model in ("plain", "tools"):
        list(client.messages.create(model=model, stream=True, **said))
    try:
        client.messages.create(model="limited", **said)
    except anthropic.RateLimitError:
        told.append("raised")


class Counted(BaseChatModel):
    """A chat model that tells what it used, as real ones do."""

    fails: bool = False

    @property
    def _llm_type(self):
        return "counted"

    def _generate(self, messages, stop=None, run_manager=None, **more):
        if self.fails:
            raise TimeoutError("SECRET prompt timed out")
        usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
        call = {"name": "look_up", "args": {}, "id": "1"}
        message = AIMessage("SECRET answer", usage_metadata=usage, tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output={"model_name": "counted-1"})


def on_langchain():
    callback = AgentLoopCallback(loop, goal="chain", on_call=on_call)
    config = {"callbacks": [callback], "metadata": {"trace_id": "0" * 31 + "7"}}
    Counted().invoke("SECRET question", config=config)
    list(FakeListChatModel(responses=["SECRET streamed"]).stream("SECRET question", config=config))
    try:
        Counted(fails=True).invoke("SECRET question", config=config)
    except TimeoutError:
        told.append("raised")


def on_opentelemetry():
    traces = TracerProvider()
    traces.add_span_processor(AgentLoopSpanProcessor(loop, goal="traced"))
    tracer = traces.get_tracer("t")
    with tracer.start_as_current_span("not a model's"), tracer.start_as_current_span("chat") as span:
        span.set_attribute("gen_ai.request.model", "gpt-4o")
        span.set_attribute("gen_ai.system", "openai")
        span.set_attribute("gen_ai.usage.input_tokens", 1000)
        span.set_attribute("gen_ai.usage.output_tokens", 100)
        span.set_attribute("gen_ai.input.messages", "SECRET")
        span.set_status(StatusCode.ERROR, "SECRET")
    told.append(f"{span.get_span_context().trace_id:032x}")
    traces.shutdown()


def broken(call):
    raise RuntimeError("the agent's own fault")


openai_at = {"api_key": "sk-none", "base_url": f"{provider}/v1", "max_retries": 0}
on_openai(of_openai.watch(openai.OpenAI(**openai_at), loop, goal="answer", on_call=on_call))
of_openai.watch(openai.OpenAI(**openai_at), loop, on_call=broken).chat.completions.create(model="plain", messages=ASKED)


async def main(work, goal):
    async with AsyncAgentLoop("al_key", server) as awaited:
        await work(of_openai.watch(openai.AsyncOpenAI(**openai_at), awaited, goal=goal, on_call=on_call), awaited)


asyncio.run(main(on_async, "async"))
anthropic_at = {"api_key": "sk-none", "base_url": provider, "max_retries": 0}
on_anthropic(of_anthropic.watch(anthropic.Anthropic(**anthropic_at), loop, goal="answer", on_call=on_call))
on_langchain()
on_opentelemetry()
on_responses(of_openai.watch(openai.OpenAI(**openai_at), loop, goal="respond", on_call=on_call))
asyncio.run(main(on_responses_async, "respond awaited"))
parsing = of_openai.watch(openai.OpenAI(**openai_at), loop, on_call=on_call).chat.completions
assert parsing.parse(model="plain", messages=ASKED).choices[0].message.parsed is None
assert parsing.with_raw_response.create(model="plain", messages=ASKED).parse().choices
loop.close()
print(json.dumps(told))
