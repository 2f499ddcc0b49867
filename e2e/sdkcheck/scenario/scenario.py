"""The scenario, with a Python client: of openapi-generator (openapi_client) or of swagger-codegen (swagger_client)."""
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
if sys.argv[1] == "swagger_client":  # which knows no bearer
    api_client = client.ApiClient(configuration, "Authorization", "Bearer " + os.environ["KEY"])
else:
    configuration.access_token = os.environ["KEY"]
    api_client = client.ApiClient(configuration)
# Left to itself urllib3 waits for as long as a 429 says and asks again, which is what one wants, and shows nothing.
api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
conversations, messages, records = client.ConversationsApi(api_client), client.MessagesApi(api_client), client.RecordsApi(api_client)


def call(method, body, **rest):
    """Calls with a body, whose parameter is named after its type by one generator, "body" by the other."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(body).__name__).lower()
    return method(**{"body" if sys.argv[1] == "swagger_client" else name: body}, **rest)


def listing(method, *args, **named):
    """A page of a list. swagger-codegen's models refuse null where a property is required, so it is read without them."""
    if sys.argv[1] != "swagger_client":
        return method(*args, **named)
    snake = lambda name: re.sub(r"(?=[A-Z])", "_", name).lower()
    named_anew = lambda found: types.SimpleNamespace(**{snake(name): value for name, value in found.items()})
    return json.loads(method(*args, **named, _preload_content=False).data, object_hook=named_anew)


def refusal(method, *args, **named):
    """The refusal that a call ends in."""
    try:
        method(*args, **named)
    except rest.ApiException as refused:
        return refused
    return None


# start, and send
started = call(conversations.start_conversation, client.ConversationStart(bot_id=BOT, initial_message="Hello"))
id = started.conversation_id
sent = call(conversations.send_message, client.MessageSend(content="More"), id=id, idempotency_key="once")

# the same again is answered the same, another body under the same key is refused
again = call(conversations.send_message, client.MessageSend(content="More"), id=id, idempotency_key="once")
assert again.message_id == sent.message_id
other = refusal(call, conversations.send_message, client.MessageSend(content="Less"), id=id, idempotency_key="once")
assert other.status == 422 and json.loads(other.body)["error"] == "unprocessable", other

# stream, behind the replies to the two messages
question = client.CompletionCreate(conversation=id, message=client.CompletionMessage(content="And?"), is_streaming=True)
stream = call(messages.create_completion, question, chatbot_id=BOT, _preload_content=False)
events = [json.loads(line[6:]) for line in stream.read().decode().split("\n") if line.startswith("data: ")]
deltas = [event["content"] for event in events if event["content"]]
assert len(deltas) > 1 and "".join(deltas) == REPLY, deltas
assert events[-1]["done"]
history = conversations.get_history(id)
assert [len(history.messages), history.messages[5].content, history.has_more] == [6, REPLY, False]

# page through a list by cursor, and through another by number
call(conversations.start_conversation, client.ConversationStart(bot_id=BOT))
seen, cursor = set(), {}
while cursor is not None:
    page = listing(conversations.list_inbox_conversations, page_size=1, **cursor)
    seen |= {one.id for one in page.results}
    cursor = {"cursor": page.next_cursor} if page.next_cursor else None
assert len(seen) == 2 and id in seen, seen
days = [datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(offset) for offset in (-1, 1)]
outputs, count = [], 1
while len(outputs) < count:
    page = listing(records.list_records, BOT, *days, page=len(outputs) // 2 + 1, page_size=2)
    count = page.count
    outputs += [one.output_message for one in page.results]
assert outputs == [REPLY] * 3, outputs

# export
exported = records.export_records(BOT, *days, _preload_content=False)
with open(os.environ["EXPORT"], "wb") as file:
    file.write(exported.read() if hasattr(exported, "read") else exported.data)

# too many
limited = None
for _ in range(20):
    limited = limited or refusal(conversations.list_conversations)
assert limited.status == 429 and int(limited.headers["Retry-After"]) >= 1, limited
