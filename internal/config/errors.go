package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Origin says where a value was set.
type Origin struct {
	// Source is the file's name, "environment WEIR_X" or "--set"; empty for a
	// default.
	Source string
	// Line and Column in the file, from 1; 0 outside files.
	Line, Column int
	// text is the line itself, for Explain.
	text string
}

// String writes the origin the way compilers do: file:line:column.
func (o Origin) String() string {
	switch {
	case o.Source == "":
		return "default"
	case o.Line == 0:
		return o.Source
	default:
		return fmt.Sprintf("%s:%d:%d", o.Source, o.Line, o.Column)
	}
}

// Error is one thing wrong with a configuration.
type Error struct {
	// Path of the key: collector.listen[0]. Empty: the source as a whole.
	Path string
	// Origin of the value at fault.
	Origin Origin
	// Problem says what is wrong, and the remedy.
	Problem string
	// Cause is the error below, if there is one.
	Cause error
}

// Error writes location, key path and problem on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Origin.Source != "" {
		b.WriteString(e.Origin.String())
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Unwrap returns the error below.
func (e *Error) Unwrap() error { return e.Cause }

// Errors is everything wrong with a configuration, in the order of its
// sources: one look at the report should be enough to mend the file.
type Errors []*Error

// Error writes one line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look into each.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Explain writes the errors with the lines they are about, a caret under the
// column. It adds nothing to errors that did not come from a file.
func Explain(err error) string {
	var es Errors
	if !errors.As(err, &es) {
		return err.Error()
	}
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
		if e.Origin.Line > 0 && e.Origin.text != "" {
			gutter := fmt.Sprintf("%5d | ", e.Origin.Line)
			fmt.Fprintf(&b, "\n%s%s\n%*s | %s^", gutter, e.Origin.text, 5, "",
				strings.Repeat(" ", max(0, e.Origin.Column-1)))
		}
	}
	return b.String()
}

// Section prefixes the errors of a section's Validate with the section's key,
// so that "listen[0]: ..." becomes "collector.listen[0]: ...".
func Section(key string, err error) error {
	if err == nil {
		return nil
	}
	var out []error
	for _, e := range flatten(err) {
		// Packages name themselves at the front of their errors.
		text := strings.TrimPrefix(e.Error(), key+": ")
		sep := ": "
		if path, _ := splitPath(text); path != "" {
			sep = "."
		}
		out = append(out, &sectionError{text: key + sep + text, err: e})
	}
	return errors.Join(out...)
}

// sectionError is an error whose key path was completed.
type sectionError struct {
	text string
	err  error
}

func (e *sectionError) Error() string { return e.text }
func (e *sectionError) Unwrap() error { return e.err }

// flatten takes joined errors apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		// fmt.Errorf with several %w also unwraps to many; its own text
		// would be lost.
		//nolint:errorlint // one that wraps an Errors has a text of its own
		if _, isErrors := err.(Errors); isErrors || joinedText(out) == err.Error() {
			return out
		}
	}
	return []error{err}
}

func joinedText(errs []error) string {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

var keyPath = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-zA-Z0-9_-]+|\[[^\]]*\])*$`)

// splitPath cuts the key path off an error text; path is empty when the text
// does not begin with one.
func splitPath(text string) (path, problem string) {
	head, rest, ok := strings.Cut(text, ": ")
	if !ok || !keyPath.MatchString(head) {
		return "", text
	}
	return head, rest
}
