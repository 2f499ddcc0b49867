package sheet

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// digits is the number of digits that spreadsheet programs keep.
const digits = 15

// general shows a number with the digits that spreadsheet programs keep, without the noise of
// binary fractions.
func general(number float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(number, 'e', digits-1, 64), 64)
	if err != nil {
		rounded = number
	}
	if size := math.Abs(rounded); size != 0 && (size < 1e-9 || size >= 1e15) {
		return strconv.FormatFloat(rounded, 'E', -1, 64)
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// hasLostDigits reports whether a number was probably an identifier whose last digits are lost.
func hasLostDigits(number float64) bool {
	if math.Abs(number) < 1e15 {
		return false
	}
	mantissa, _, _ := strings.Cut(strconv.FormatFloat(math.Abs(number), 'e', -1, 64), "e")
	return len(mantissa) > 10
}

// showNumber shows a number in a section.
func (s section) showNumber(number float64, showsSign bool) string {
	sign := ""
	if number < 0 && showsSign {
		sign = "-"
	}
	size := math.Abs(number)
	for _, t := range s.tokens {
		switch t.kind {
		case 'G':
			return sign + s.replace(general(size))
		case '@':
			return s.replace(general(number))
		case '/':
			if text, ok := s.showFraction(size); ok {
				return sign + text
			}
		case 'x':
			return sign + s.showExponent(size)
		case '%':
			size *= 100
		}
	}
	text, hasDigit := s.showDecimal(size)
	if hasDigit && !strings.ContainsAny(text, "123456789") {
		sign = "" // -0
	}
	return sign + text
}

// replace returns a value with the texts of the section around it.
func (s section) replace(value string) string {
	out := ""
	for _, t := range s.tokens {
		if t.kind == 'G' || t.kind == '@' {
			out += value
		} else {
			out += t.text
		}
	}
	return out
}

// scale finds the digit places before and after the point, and applies commas.
func (s section) scale(size float64) (whole, decimals int, isGrouped bool, scaled float64) {
	commas, isAfterPoint := 0, false
	for _, t := range s.tokens {
		switch {
		case t.kind == '.':
			isAfterPoint = true
		case t.kind == '0' && isAfterPoint:
			decimals++
		case t.kind == '0':
			isGrouped = isGrouped || commas > 0 && whole > 0
			commas = 0
			whole++
		case t.kind == ',' && (whole > 0 || decimals > 0):
			commas++
		}
	}
	return whole, decimals, isGrouped, size / math.Pow(1000, float64(commas))
}

// showDecimal fills the digit places from the point outwards.
func (s section) showDecimal(size float64) (text string, hasDigit bool) {
	whole, decimals, isGrouped, size := s.scale(size)
	integer, fraction, _ := strings.Cut(roundTo(size, decimals), ".")
	integer = strings.TrimLeft(integer, "0")
	var out strings.Builder
	digit := func(c byte, fromPoint int) {
		out.WriteByte(c)
		if isGrouped && fromPoint > 0 && fromPoint%3 == 0 {
			out.WriteByte(',')
		}
	}
	place, shown, isAfterPoint := whole, 0, false
	for _, t := range s.tokens {
		switch t.kind {
		case '0':
			if isAfterPoint {
				if t.text == "0" || strings.Trim(fraction[shown:], "0") != "" {
					out.WriteByte(fraction[shown])
				}
				shown++
				continue
			}
			for i := len(integer); place == whole && i > whole; i-- { // more digits than places
				digit(integer[len(integer)-i], i-1)
			}
			if place <= len(integer) {
				digit(integer[len(integer)-place], place-1)
			} else if t.text == "0" {
				digit('0', place-1)
			}
			place--
		case '.':
			if whole == 0 {
				out.WriteString(integer)
			}
			if isAfterPoint = true; s.showsPoint(fraction) {
				out.WriteByte('.')
			}
		case ',':
		default:
			out.WriteString(t.text)
		}
	}
	return out.String(), whole+decimals > 0
}

// showsPoint reports whether the decimals show any digit.
func (s section) showsPoint(fraction string) bool {
	_, after, _ := strings.Cut(s.code, ".")
	return strings.Contains(after, "0") || strings.Trim(fraction, "0") != ""
}

// roundTo rounds half away from zero, by the decimal digits that are kept.
func roundTo(size float64, decimals int) string {
	exact, ok := new(big.Rat).SetString(strconv.FormatFloat(size, 'e', digits-1, 64))
	if !ok {
		return strconv.FormatFloat(size, 'f', decimals, 64)
	}
	return exact.FloatString(decimals)
}

func (s section) showExponent(size float64) string {
	mantissa, exponent, _ := strings.Cut(strings.ToUpper(s.code), "E")
	_, decimals, _ := strings.Cut(mantissa, ".")
	text := strconv.FormatFloat(size, 'E', strings.Count(decimals, "0")+strings.Count(decimals, "#"), 64)
	mantissa, power, _ := strings.Cut(text, "E")
	value, _ := strconv.Atoi(power)
	width := strings.Count(exponent, "0")
	if value < 0 {
		return fmt.Sprintf("%sE-%0*d", mantissa, width, -value)
	}
	plus := ""
	if strings.HasPrefix(exponent, "+") {
		plus = "+"
	}
	return fmt.Sprintf("%sE%s%0*d", mantissa, plus, width, value)
}

var fractionPattern = regexp.MustCompile(`([#?0]+\s+)?[#?0]+\s*/\s*([#?]+|[0-9]+)`)

// showFraction shows a number as a fraction with the closest possible denominator.
func (s section) showFraction(size float64) (string, bool) {
	match := fractionPattern.FindStringSubmatch(s.code)
	if match == nil {
		return "", false
	}
	from, to := 1, 0
	if fixed, err := strconv.Atoi(match[2]); err == nil && fixed > 0 && fixed < 10_000 {
		from, to = fixed, fixed
	} else {
		to = int(math.Pow10(min(len(match[2]), 3))) - 1
	}
	whole, rest := 0.0, size
	if match[1] != "" {
		whole, rest = math.Modf(size)
	}
	numerator, denominator, closest := 0.0, 1, math.Inf(1)
	for d := from; d <= to; d++ {
		n := math.Round(rest * float64(d))
		if distance := math.Abs(rest - n/float64(d)); distance < closest-1e-12 {
			numerator, denominator, closest = n, d, distance
		}
	}
	switch {
	case numerator == 0:
		return general(whole), true
	case match[1] != "" && numerator == float64(denominator):
		return general(whole + 1), true
	case whole == 0:
		return fmt.Sprintf("%s/%d", general(numerator), denominator), true
	}
	return fmt.Sprintf("%s %s/%d", general(whole), general(numerator), denominator), true
}
