// Package local holds the Maven project that resolves the real servers which
// the demo and the tests run, so that the one binary carries it along.
package local

import _ "embed"

// POM is the Maven project of the local servers. Its profiles "kafka" and
// "elasticsearch" each lay one server into the directory given as -Dweir.out.
//
//go:embed pom.xml
var POM []byte
