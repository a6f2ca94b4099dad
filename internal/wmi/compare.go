package wmi

import (
	"cmp"
	"strconv"
	"strings"
)

// literal is the value of a constant.
func literal(t token) (any, bool) {
	switch {
	case t.kind == tokenText:
		return t.text, true
	case t.kind == tokenNumber:
		f, err := strconv.ParseFloat(t.text, 64)
		return f, err == nil
	case t.kind == tokenName && strings.EqualFold(t.text, "true"):
		return true, true
	case t.kind == tokenName && strings.EqualFold(t.text, "false"):
		return false, true
	}
	return nil, false
}

// compare orders a property and a constant, as texts without regard to case, or as numbers when either is one: WMI gives
// numbers of 64 bits as texts.
func compare(found, want any) (int, bool) {
	a, isText := found.(string)
	b, wantsText := want.(string)
	switch {
	case found == nil:
		return 0, false
	case isText && wantsText:
		return strings.Compare(strings.ToLower(a), strings.ToLower(b)), true
	}
	x, okX := number(found)
	y, okY := number(want)
	return cmp.Compare(x, y), okX && okY
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		switch strings.ToLower(v) {
		case "true":
			return 1, true
		case "false":
			return 0, true
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return f, err == nil
	}
	return 0, false
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func holds(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "<>", "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}
