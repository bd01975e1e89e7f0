// Abigen writes Go's types and constants of what a BPF object shares with the agent, from the object's own BTF:
//
//	abigen OBJECT PACKAGE C_TYPE=GoName[/VALUES]...
//
// A struct becomes a type of the same layout, an enumeration its values: without their first word in C, and with VALUES before them.
// C_TYPE:=GoName is a type that the package has already.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// goName of snake_case: mtu_bytes is MTUBytes.
func goName(name string) string {
	capitals := map[string]string{"mac": "MAC", "mtu": "MTU", "csum": "Csum", "sir": "SIR", "ipv6": "IPv6"}
	var words []string
	for _, word := range strings.Split(strings.ToLower(name), "_") {
		if word == "" {
			continue
		}
		if known, is := capitals[word]; is {
			words = append(words, known)
			continue
		}
		words = append(words, strings.ToUpper(word[:1])+word[1:])
	}
	return strings.Join(words, "")
}

// valueName of ILA_NO_ACTION: noAction, or with a word before it modeNoAction.
func valueName(before, value string) string {
	_, rest, _ := strings.Cut(strings.ToLower(value), "_")
	if before != "" && !strings.HasPrefix(rest, before+"_") {
		rest = before + "_" + rest
	}
	name := goName(rest)
	return strings.ToLower(name[:1]) + name[1:]
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("abigen OBJECT PACKAGE C_TYPE=GoName[/VALUES]...")
	}
	spec, err := btf.LoadSpec(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	names, before := map[btf.Type]string{}, map[string]string{}
	var wanted []btf.Type
	for _, argument := range os.Args[3:] {
		c, own, has := strings.Cut(argument, "=")
		isThere := strings.HasSuffix(c, ":")
		own, values, _ := strings.Cut(own, "/")
		before[own] = values
		if !has {
			log.Fatalf("%s: C_TYPE=GoName is wanted", argument)
		}
		types, err := spec.AnyTypesByName(strings.TrimSuffix(c, ":"))
		if err != nil || len(types) != 1 {
			log.Fatalf("%s: %d types of this name (%v)", c, len(types), err)
		}
		names[types[0]] = own
		if !isThere {
			wanted = append(wanted, types[0])
		}
	}
	formatter := btf.GoFormatter{Names: names, Identifier: goName, EnumIdentifier: func(enum, value string) string { return valueName(before[enum], value) }}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.\n\npackage %s\n", os.Args[2])
	for _, t := range wanted {
		text, err := formatter.TypeDeclaration(names[t], t)
		if err != nil {
			log.Fatalf("%s: %v", names[t], err)
		}
		fmt.Fprintf(&out, "\n%s\n", text)
	}
	pretty, err := format.Source(out.Bytes())
	if err != nil {
		log.Fatalf("%v\n%s", err, out.String())
	}
	os.Stdout.Write(pretty)
}
