package iptables

import (
	"fmt"
	"strings"
)

// word is one of a line, without its quotes.
type word struct {
	text   string
	column int // from 1
}

// Fault is what is wrong with a line.
type Fault struct {
	Line, Column int
	What, Fix    string
}

func (f Fault) Error() string {
	return fmt.Sprintf("line %d, column %d: %s; %s", f.Line, f.Column, f.What, f.Fix)
}

// split gives a line's words as a shell and iptables-restore do: in quotes they may have blanks.
func split(line string) ([]word, *Fault) {
	var words []word
	var text strings.Builder
	begin, quote := -1, byte(0)
	for at := 0; at < len(line); at++ {
		c := line[at]
		switch {
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			if begin >= 0 {
				words = append(words, word{text.String(), begin + 1})
				begin = -1
				text.Reset()
			}
			continue
		case begin < 0:
			begin = at
		}
		switch {
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && at+1 < len(line):
			at++
			text.WriteByte(line[at])
		default:
			text.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, &Fault{Column: begin + 1, What: fmt.Sprintf("a %c is not closed", quote), Fix: fmt.Sprintf("end the text with %c", quote)}
	}
	if begin >= 0 {
		words = append(words, word{text.String(), begin + 1})
	}
	return words, nil
}

// quoted is a word as iptables prints it.
func quoted(text string) string {
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !isPlain(r) }) < 0 {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(text) + `"`
}

// isPlain: xtables_save_string's list.
func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}
