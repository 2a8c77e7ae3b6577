package schemas

import (
	"strconv"
	"strings"
)

// extraPrefix moves an extra out of the way of a member with its name.
const extraPrefix = "extra."

// jsonExtras appends extras as members under their own names. A name that a
// field has gets the prefix "extra."; so does one that begins with it, which
// keeps names apart. Elements of the same name become one array.
func jsonExtras(dst []byte, list []Extra) []byte {
	if distinct(list) {
		for i := range list {
			dst = jsonExtraKey(dst, list[i].Name)
			dst = jsonExtraValue(dst, &list[i].Value, 1)
		}
		return dst
	}
	first := make(map[string][]int, len(list))
	for i := range list {
		first[list[i].Name] = append(first[list[i].Name], i)
	}
	for i := range list {
		same := first[list[i].Name]
		if same[0] != i {
			continue // printed with the first of its name
		}
		dst = jsonExtraKey(dst, list[i].Name)
		if len(same) == 1 {
			dst = jsonExtraValue(dst, &list[i].Value, 1)
			continue
		}
		for n, j := range same {
			dst = append(dst, "[,"[min(n, 1)])
			dst = jsonExtraValue(dst, &list[j].Value, 1)
		}
		dst = append(dst, ']')
	}
	return dst
}

func jsonExtraKey(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	at := len(dst)
	dst = AppendJSONText(dst, name)
	if reservedName(name) || strings.HasPrefix(name, extraPrefix) {
		dst = append(dst[:at], '"')
		dst = append(dst, extraPrefix...)
		rest := len(dst)
		dst = AppendJSONText(dst, name)
		dst = append(dst[:rest], dst[rest+1:]...) // its opening quote
	}
	return append(dst, ':')
}

// jsonExtraValue appends a value that lies depth lists deep: bytes as
// hexadecimal digits; a list as an object when all its items have names of
// their own, else as an array in which a named item is an object of one member.
func jsonExtraValue(dst []byte, v *ExtraValue, depth int) []byte {
	switch v.Kind {
	case ExtraDouble:
		return jsonNumber(dst, v.Double)
	case ExtraString:
		return AppendJSONText(dst, v.Bytes)
	case ExtraBytes:
		return jsonHexText(dst, v.Bytes)
	case ExtraList:
		if depth > MaxExtraDepth {
			return append(dst, "[]"...) // as it is encoded
		}
		return jsonList(dst, v.List, depth)
	}
	return strconv.AppendInt(dst, v.Long, 10)
}

func jsonList(dst []byte, list []Extra, depth int) []byte {
	if len(list) > 0 && allNamed(list) && distinct(list) {
		dst = append(dst, '{')
		for i := range list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendJSONText(dst, list[i].Name), ':')
			dst = jsonExtraValue(dst, &list[i].Value, depth+1)
		}
		return append(dst, '}')
	}
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if list[i].Name == "" {
			dst = jsonExtraValue(dst, &list[i].Value, depth+1)
			continue
		}
		dst = append(AppendJSONText(append(dst, '{'), list[i].Name), ':')
		dst = append(jsonExtraValue(dst, &list[i].Value, depth+1), '}')
	}
	return append(dst, ']')
}

func allNamed(list []Extra) bool {
	for i := range list {
		if list[i].Name == "" {
			return false
		}
	}
	return true
}

// distinct reports that no two extras have the same name. Lists are short;
// a long one, which only a hostile exporter sends, goes through a map.
func distinct(list []Extra) bool {
	if len(list) > 64 {
		seen := make(map[string]struct{}, len(list))
		for i := range list {
			seen[list[i].Name] = struct{}{}
		}
		return len(seen) == len(list)
	}
	for i := range list {
		for j := range i {
			if list[i].Name == list[j].Name {
				return false
			}
		}
	}
	return true
}
