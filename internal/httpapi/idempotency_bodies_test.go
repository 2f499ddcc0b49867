package httpapi_test

// idempotentBodies returns the operations that accept an Idempotency-Key, each with bodies that succeed. A body of
// bytes is a file.
func idempotentBodies(resources resourceIDs) map[string][]any {
	conversation := resources["conversations"]
	return map[string][]any{
		"sendMessage":   {object{"content": question}, object{"content": "Hi", "metadata": object{"a": "<&>"}}},
		"createMessage": {object{"conversation": conversation, "content": question}, object{"conversation": conversation}},
		"createCompletion": {
			object{"conversation": conversation, "message": object{"content": question}}, object{"message": object{"content": question}},
		},
		"createChatCompletion": {
			object{
				"model": resources["chatbots"], "messages": []object{{"role": "user", "content": question}},
				"metadata": object{"conversation_id": conversation, "<&>": 1},
			},
		},
		"startConversation": {
			object{"initial_message": question, "bot_id": resources["chatbots"]}, object{}, object{"initial_message": ""},
		},
		"createConversation": {
			object{"webChat": resources["web-chats"]}, object{"webChat": resources["web-chats"], "contact": resources["contacts"]},
		},
		"batchConversations": {
			object{"operations": []object{{"action": "archive", "conversation_id": conversation}}},
			object{"operations": []object{
				{"action": "mark_read", "conversation_id": conversation}, {"action": "delete", "conversation_id": "nobody's"},
			}},
		},
		"createChatbot": {
			object{"name": "Another"},
			object{"name": "<Shop> & Co.", "description": "字\u2028🙂", "instructions": "Be brief.", "greeting": "", "unanswerableReply": "No.", "isDefault": true},
		},
		"createFaq": {
			object{"question": "Why?", "answer": "<p>So &amp; so.</p>"}, object{"question": "Why?", "answer": "So.", "labels": []string{"<a>", "b"}},
		},
		"addFaq": {object{"chatbot": resources["chatbots"], "question": "Why?", "answer": "So."}},
		"broadcastMessage": {
			object{"message": "Hello", "contact_ids": []string{resources["contacts"]}}, object{"message": "Hello", "contact_ids": []string{resources["contacts"], "x"}},
		},
		"createOutgoingMessage": {object{"conversation": conversation, "content": "I take over."}},
		"deleteFaqs":            {object{"ids": []string{resources["faqs"]}}},
		"importFaqs":            {[]byte("question,answer\nWhen?,Now.\n"), []byte("question,answer\nWhen?,Now.\nWho?,\n")},
		"createWebChat":         {object{"name": "Shop"}, object{"name": "Shop", "chatbot": resources["chatbots"], "allowedOrigins": []string{"https://a.example"}}},
		"createContact": {
			object{"name": "Kim"},
			`{"name": "<Kim>", "email": "kim@example.com", "inboxes": ["` + resources["inboxes"] + `"],
			  "queryMetadata": {"b" : 12345678901234567890.10, "a": ["<&>\u2028", null, 1e300], "b": {}}}`,
		},
		"createClientToken": {
			object{"conversation": conversation}, object{"contact": resources["contacts"], "expiresIn": 60}, object{"chatbot": resources["chatbots"], "origin": "https://a.example"},
		},
		"createWsTicket": {object{"conversation": conversation}, object{}, object{"chatbot": resources["chatbots"]}},
		// The key is of another user: creating a key locks its user, to whom idempotency claims refer.
		"createApiKey": {object{"name": "Portal", "user": "portal", "scopes": []string{"agent"}}, object{"name": "Portal"}},
	}
}

// secret are operations whose responses are not stored, because they contain a secret.
var secret = map[string]bool{"createApiKey": true, "createClientToken": true, "createWsTicket": true}
