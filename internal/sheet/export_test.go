package sheet

// ShowNumber formats a number.
func ShowNumber(number float64, code string) (text, doubt string) {
	cell := parseFormat(code).show(number, false)
	return cell.Text, cell.Doubt
}
