package bot

// SeedFAQs is what a new organization's default bot knows.
func SeedFAQs() []NewFAQ {
	return []NewFAQ{{Question: "What is Parley?", Answer: "Parley is a conversation backend: REST, Server-Sent Events and a WebSocket channel in front of chatbots."}}
}
