// What a stranger runs: Go's own code for signed notes and transparent logs, and nothing of ours.
//
// stranger VKEY CHECKPOINT INCLUSION CONSISTENCY ends with 0 if the checkpoint is signed by the key,
// and both proofs lead to its root. The lines of INCLUSION are the leaf's index, its hash and the
// path; those of CONSISTENCY are the earlier size, its root and the path.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func refuse(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	refuse(err)
	return data
}

func number(text string) int64 {
	found, err := strconv.ParseInt(text, 10, 64)
	refuse(err)
	return found
}

func hash(text string) (found tlog.Hash) {
	data, err := base64.StdEncoding.DecodeString(text)
	refuse(err)
	if len(data) != len(found) {
		refuse(fmt.Errorf("not a hash: %s", text))
	}
	copy(found[:], data)
	return found
}

// proof reads a number, a hash and a path.
func proof(path string) (int64, tlog.Hash, []tlog.Hash) {
	lines := strings.Split(strings.TrimSuffix(string(read(path)), "\n"), "\n")
	var hashes []tlog.Hash
	for _, line := range lines[2:] {
		hashes = append(hashes, hash(line))
	}
	return number(lines[0]), hash(lines[1]), hashes
}

func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	refuse(err)
	opened, err := note.Open(read(os.Args[2]), note.VerifierList(verifier))
	refuse(err)
	lines := strings.Split(opened.Text, "\n")
	size, root := number(lines[1]), hash(lines[2])
	index, leaf, path := proof(os.Args[3])
	refuse(tlog.CheckRecord(path, size, root, index, leaf))
	earlier, earlierRoot, between := proof(os.Args[4])
	refuse(tlog.CheckTree(between, size, root, earlier, earlierRoot))
	fmt.Println("verified", verifier.Name(), size)
}
