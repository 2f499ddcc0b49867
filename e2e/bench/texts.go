package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// texts are the messages sent under load, each followed by a number. They contain no quotation
// marks, so that they need no escaping in SQL and JSON.
var texts = []string{
	"Could you tell me when my order will arrive? I placed it last Tuesday and have heard nothing since, number ",
	"請問我的包裹什麼時候會到?我上星期二下的單,到現在都還沒有收到任何通知,麻煩幫我查一下,謝謝。編號",
	"Thanks, that helps. Ticket ",
	"好的,我知道了,工單",
}

// Search keywords: one occurs in 1 of rareEvery messages, one in a tenth of all messages, and one in none. The word
// lists below contain none of these character pairs.
const (
	rareWord   = "鯨鯊"
	rareEvery  = 10_000
	commonWord = "訂單"
	absentWord = "麒麟"
)

var (
	chinese = strings.Fields(`請問 客服 包裹 退貨 換貨 付款 發票 信用卡 帳號 密碼 登入 註冊 會員 點數 折扣 優惠 活動 門市 營業 時間 地址 電話
		配送 物流 運費 到貨 缺貨 預購 商品 尺寸 顏色 材質 保固 維修 零件 說明書 安裝 設定 連線 網路 手機 電腦 平板 螢幕 電池 充電 相機 耳機
		冷氣 冰箱 洗衣機 電視 沙發 桌子 椅子 床墊 窗簾 衣服 鞋子 外套 帽子 背包 手錶 眼鏡 牛奶 咖啡 茶葉 餅乾 水果 蔬菜 牛肉 海鮮 便當 餐廳
		預約 取消 修改 確認 查詢 申請 通知 簡訊 郵件 下載 上傳 更新 版本 錯誤 問題 解決 方法 步驟 文件 合約 保險 理賠 貸款 利率 帳單 繳費
		今天 明天 昨天 上午 下午 星期 月底 年初 已經 還沒 可以 不能 需要 希望 麻煩 幫忙 謝謝 抱歉 了解 清楚 處理 安排 聯絡 回覆 等待 完成
		台北 新竹 台中 台南 高雄 花蓮 宜蘭 基隆 學校 醫院 銀行 公司 部門 主管 工程師 老師 學生 課程 考試 報名 證書 簽證 護照 機票 飯店 行李`)
	english = strings.Fields(`order parcel refund invoice account password login member points discount store opening hours address phone
		delivery courier shipping stock product size colour fabric warranty repair manual setup connection network mobile laptop tablet screen
		battery charger camera headphones fridge washer television sofa table chair mattress curtain jacket backpack watch glasses coffee tea
		biscuit fruit vegetable beef seafood lunch restaurant booking cancel change confirm question request notice message mail download upload
		update version error problem solution method step document contract insurance claim loan rate bill payment today tomorrow yesterday
		morning afternoon week month year already still please need hope help thanks sorry clear handle arrange contact reply wait done school
		hospital bank company department manager engineer teacher student course exam certificate visa passport ticket hotel luggage window`)
	particles = strings.Fields("的 了 是 在 和 要 我 您 嗎 呢 到 會 把 請")
)

// textOf returns the text with a number: always the same, in Chinese or English, short or long, and
// ending with digits.
func textOf(number int) string {
	random := rand.New(rand.NewPCG(uint64(number), 1))
	length := 3 + random.IntN(8)
	if random.IntN(4) == 0 {
		length += random.IntN(40)
	}
	var text strings.Builder
	if number%2 == 0 {
		for i := range length {
			if random.IntN(3) == 0 {
				text.WriteString(particles[random.IntN(len(particles))])
			}
			text.WriteString(chinese[random.IntN(len(chinese))])
			if i%6 == 5 {
				text.WriteString(",")
			}
		}
		fmt.Fprintf(&text, "%d。", random.IntN(10_000_000))
	} else {
		for range length {
			text.WriteString(english[random.IntN(len(english))])
			text.WriteByte(' ')
		}
		fmt.Fprintf(&text, "%d.", random.IntN(10_000_000))
	}
	if number%10 == 3 {
		text.WriteString(commonWord)
	}
	if number%rareEvery == 17 {
		text.WriteString(rareWord)
	}
	return text.String()
}
