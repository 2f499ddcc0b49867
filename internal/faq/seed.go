package faq

// Seed returns the FAQs of a new installation's default chatbot. They answer questions about Parley
// itself.
func Seed() []NewFAQ {
	return []NewFAQ{
		{
			Question: "What is Parley?",
			Answer: "Parley is a conversation backend: REST, Server-Sent Events and a WebSocket channel in front of chatbots. It keeps conversations " +
				"and their history, answers from what its chatbots know, and is described by an OpenAPI document.",
		},
		{
			Question: "How do I start a conversation?",
			Answer: "POST /api/conversations/start. Without bot_id, the default bot answers. An initial_message is stored and answered " +
				"like any other message. The response contains the conversation_id.",
		},
		{
			Question: "How do I send a message?",
			Answer: "POST /api/conversations/{id}/messages with the text as content. The message is stored, and the bot replies " +
				"asynchronously: read the reply with GET /api/conversations/{id}/history.",
		},
		{
			Question: "How do I stream a reply?",
			Answer: "POST /api/chatbots/{chatbotId}/completions/ with \"isStreaming\": true. The response is an event stream: each event " +
				"contains a part of the text, and the last one has \"done\": true.",
		},
		{
			Question: "How do I get an API key?",
			Answer: "POST /api/api-keys/ with a key that has the scope admin. The response shows the new key once; only its hash is " +
				"stored. Send it with every request as Authorization: Api-Key <key>.",
		},
		{
			Question: "How do I teach a chatbot new answers?",
			Answer: "Add questions with their answers: one at a time with POST /api/chatbots/{chatbotId}/faqs/, or a whole table " +
				"with POST /api/chatbots/{chatbotId}/faqs/import/.",
		},
		{
			Question: "Where is the API documentation?",
			Answer:   "The server hosts it: /docs is the reference page, /openapi.yaml and /openapi.json are the OpenAPI document.",
		},
		{
			Question: "Parley 是什麼？",
			Answer:   "Parley 是對話後端服務：以 REST 與 Server-Sent Events 提供聊天機器人的對話、訊息紀錄與知識庫管理，介面由 OpenAPI 文件定義。",
		},
		{
			Question: "如何匯入常見問題？",
			Answer: "以 multipart/form-data 將檔案放在 file 欄位，送到 POST /api/chatbots/{chatbotId}/faqs/import/。檔案可為 .xlsx 或 UTF-8 的 " +
				".csv，第一列為欄位名稱：問題、答案，可另加標籤。",
		},
		{
			Question: "如何取得 API 金鑰？",
			Answer: "以具有 admin 權限的金鑰呼叫 POST /api/api-keys/。新金鑰只會顯示一次，系統僅保存其雜湊值；之後每個請求以 " +
				"Authorization: Api-Key <key> 帶上它。",
		},
	}
}
