// Reads an archive with the reference reader of eStargz, checks it against its table of contents, and prints what it sees: one JSON
// object an entry. The test beside it compares that with the tree that was captured.
//
// It is built against containerd's stargz-snapshotter as distributions package it (Debian: golang-github-containerd-stargz-snapshotter-dev).
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// Seen is one entry as the reader gives it. Base64 is how Go writes bytes into JSON; names here are text.
type Seen struct {
	Name   string            `json:"name"`
	Type   string            `json:"type"`
	Size   int64             `json:"size"`
	Mode   int64             `json:"mode"`
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Sec    int64             `json:"sec"`
	Nanos  int               `json:"nanos"`
	Link   string            `json:"link,omitempty"`
	Links  int               `json:"links"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
	SHA256 string            `json:"sha256,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stargz ARCHIVE")
		os.Exit(2)
	}
	if err := show(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "stargz:", err)
		os.Exit(1)
	}
}

func show(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	about, err := file.Stat()
	if err != nil {
		return err
	}
	reader, err := estargz.Open(io.NewSectionReader(file, 0, about.Size()))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	checks, err := reader.VerifyTOC(reader.TOCDigest())
	if err != nil {
		return fmt.Errorf("VerifyTOC: %w", err)
	}
	fmt.Fprintln(os.Stderr, reader.TOCDigest())
	root, ok := reader.Lookup("")
	if !ok {
		return fmt.Errorf("no root")
	}
	return walk(reader, checks, root, "", json.NewEncoder(os.Stdout))
}

func walk(reader *estargz.Reader, checks estargz.TOCEntryVerifier, entry *estargz.TOCEntry, name string, to *json.Encoder) error {
	if name != "" {
		seen := Seen{
			Name: name, Type: entry.Type, Size: entry.Size, Mode: entry.Mode, UID: entry.UID, GID: entry.GID,
			Sec: entry.ModTime().Unix(), Nanos: entry.ModTime().Nanosecond(), Link: entry.LinkName, Links: entry.NumLink, Xattrs: entry.Xattrs,
		}
		if entry.Type == "reg" {
			digest, err := content(reader, checks, entry)
			if err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
			seen.SHA256 = digest
		}
		if err := to.Encode(seen); err != nil {
			return err
		}
	}
	var failed error
	entry.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		failed = walk(reader, checks, child, path.Join(name, base), to)
		return failed == nil
	})
	return failed
}

// content reads a file twice: whole, against the digest of the file, and piece by piece, each against its own.
func content(reader *estargz.Reader, checks estargz.TOCEntryVerifier, entry *estargz.TOCEntry) (string, error) {
	opened, err := reader.OpenFile(entry.Name)
	if err != nil {
		return "", err
	}
	whole := sha256.New()
	if _, err := io.Copy(whole, opened); err != nil {
		return "", err
	}
	digest := hex.EncodeToString(whole.Sum(nil))
	if strings.TrimPrefix(entry.Digest, "sha256:") != digest {
		return "", fmt.Errorf("holds %s, the table of contents says %s", digest, entry.Digest)
	}
	for offset := int64(0); offset < entry.Size; {
		piece, ok := reader.ChunkEntryForOffset(entry.Name, offset)
		if !ok {
			return "", fmt.Errorf("no piece at %d", offset)
		}
		check, err := checks.Verifier(piece)
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(check, io.NewSectionReader(opened, piece.ChunkOffset, piece.ChunkSize)); err != nil {
			return "", err
		}
		if !check.Verified() {
			return "", fmt.Errorf("the piece at %d is not what its digest says", offset)
		}
		offset = piece.ChunkOffset + piece.ChunkSize
	}
	return digest, nil
}
