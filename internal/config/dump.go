package config

import (
	"bytes"
	"net/url"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-flow/weir/internal/secret"
)

// Dump writes a configuration as YAML that Load would read, with secrets,
// also those inside URLs, redacted.
func Dump(cfg any) ([]byte, error) {
	n, err := encode(reflect.ValueOf(cfg))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

// encode differs from the library's encoding in how durations are written
// and in what is hidden.
func encode(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{}
	t := v.Type()
	switch {
	case t == durationType:
		return n, n.Encode(FormatDuration(v.Interface().(time.Duration)))
	case isLeafType(t):
		return n, n.Encode(v.Interface())
	case (t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface) && !v.IsNil():
		return encode(v.Elem())
	case t.Kind() == reflect.Struct:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		for _, f := range structFields(t) {
			val, err := encode(v.FieldByIndex(f.index))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.key}, val)
		}
		return n, nil
	case t.Kind() == reflect.Slice:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if !isSection(t.Elem()) {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			item, err := encode(v.Index(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		return n, nil
	}
	if err := n.Encode(v.Interface()); err != nil {
		return nil, err
	}
	redactURLs(n)
	return n, nil
}

func redactURLs(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "@") && strings.Contains(n.Value, "://") {
		if u, err := url.Parse(n.Value); err == nil && u.User != nil {
			if _, has := u.User.Password(); has {
				// Not url.String: it would escape the brackets.
				head, rest, _ := strings.Cut(n.Value, "://")
				_, tail := splitUserinfo(rest)
				n.Value = head + "://" + u.User.Username() + ":" + secret.Redacted + "@" + tail
			}
		}
	}
	for _, c := range n.Content {
		redactURLs(c)
	}
}

// splitUserinfo cuts what stands after the scheme at the end of the userinfo.
func splitUserinfo(rest string) (userinfo, tail string) {
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@')
	return rest[:max(at, 0)], rest[at+1:]
}
