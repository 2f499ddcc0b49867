"""The scenario with a Python client, by openapi-generator (openapi_client) or swagger-codegen (swagger_client)."""
import datetime
import importlib
import json
import os
import re
import sys
import types

client = importlib.import_module(sys.argv[1])
rest = importlib.import_module(sys.argv[1] + ".rest")
REPLY = "Good day, 世界."
BOT = os.environ["BOT"]

configuration = client.Configuration()
configuration.host = os.environ["PARLEY"]
if sys.argv[1] == "swagger_client":  # it does not support bearer authentication
    api_client = client.ApiClient(configuration, "Authorization", "Bearer " + os.environ["KEY"])
else:
    configuration.access_token = os.environ["KEY"]
    api_client = client.ApiClient(configuration)
# By default, urllib3 waits for the Retry-After of a 429 and repeats the request, which would hide the 429.
api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
conversations, messages, records = client.ConversationsApi(api_client), client.MessagesApi(api_client), client.RecordsApi(api_client)


def call(method, body, **rest):
    """Calls a method with a body. One generator names the parameter after its type, the other "body"."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(body).__name__).lower()
    return method(**{"body" if sys.argv[1] == "swagger_client" else name: body}, **rest)


def listing(method, *args, **named):
    """Returns a page of a list. swagger-codegen's models reject null in required properties, so its pages are read raw."""
    if sys.argv[1] != "swagger_client":
        return method(*args, **named)
    snake = lambda name: re.sub(r"(?=[A-Z])", "_", name).lower()
    to_object = lambda fields: types.SimpleNamespace(**{snake(name): value for name, value in fields.items()})
    return json.loads(method(*args, **named, _preload_content=False).data, object_hook=to_object)


def refusal(method, *args, **named):
    """Returns the refusal of a call, or None if it succeeded."""
    try:
        method(*args, **named)
    except rest.ApiException as refused:
        return refused
    return None


# start, and send
started = call(conversations.start_conversation, client.ConversationStart(bot_id=BOT, initial_message="Hello"))
id = started.conversation_id
sent = call(conversations.send_message, client.MessageSend(content="More"), id=id, idempotency_key="once")

# a repeated request gets the same answer, another body under the same key is refused
repeated = call(conversations.send_message, client.MessageSend(content="More"), id=id, idempotency_key="once")
assert repeated.message_id == sent.message_id
other = refusal(call, conversations.send_message, client.MessageSend(content="Less"), id=id, idempotency_key="once")
assert other.status == 422 and json.loads(other.body)["error"] == "unprocessable", other

# stream; the replies to the two messages come first
question = client.CompletionCreate(conversation=id, message=client.CompletionMessage(content="And?"), is_streaming=True)
stream = call(messages.create_completion, question, chatbot_id=BOT, _preload_content=False)
events = [json.loads(line[6:]) for line in stream.read().decode().split("\n") if line.startswith("data: ")]
deltas = [event["content"] for event in events if event["content"]]
assert len(deltas) > 1 and "".join(deltas) == REPLY, deltas
assert events[-1]["done"]
history = conversations.get_history(id)
assert [len(history.messages), history.messages[5].content, history.has_more] == [6, REPLY, False]

# page by cursor, and by number
call(conversations.start_conversation, client.ConversationStart(bot_id=BOT))
seen, cursor = set(), {}
while cursor is not None:
    page = listing(conversations.list_inbox_conversations, page_size=1, **cursor)
    seen |= {conversation.id for conversation in page.results}
    cursor = {"cursor": page.next_cursor} if page.next_cursor else None
assert len(seen) == 2 and id in seen, seen
days = [datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(offset) for offset in (-1, 1)]
outputs, count = [], 1
while len(outputs) < count:
    page = listing(records.list_records, BOT, *days, page=len(outputs) // 2 + 1, page_size=2)
    count = page.count
    outputs += [record.output_message for record in page.results]
assert outputs == [REPLY] * 3, outputs

# export
exported = records.export_records(BOT, *days, _preload_content=False)
with open(os.environ["EXPORT"], "wb") as file:
    file.write(exported.read() if hasattr(exported, "read") else exported.data)

# rate limit
limited = None
for _ in range(20):
    limited = limited or refusal(conversations.list_conversations)
assert limited.status == 429 and int(limited.headers["Retry-After"]) >= 1, limited
