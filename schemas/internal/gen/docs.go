package main

func writeDocs(dir, out string, all []*root) error { return nil }
