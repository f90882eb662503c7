"""The form of a bundle: a tar of regular files in a fixed order, described by its own first member.

A bundle holds nothing that its contents do not say, and says it in one way only: order, names, modes, owners and times
of all members follow from the contents. So a reader can compute each header it has to see and compare bytes, and there
is no room for a link, a device, an extra or a second member, a sparse map or a long-name trick.

    <top>/.repobuild/CONTENTS.json     the contents
    <top>/.repobuild/CONTENTS.sha256   the same as `sha256sum` lines, for people with nothing but a shell
    <top>/.repobuild/install.sh        what installs the bundle where there is nothing but a shell
    <top>/, <top>/…/                   folders
    <top>/…                            indexes, payload, pointers; the marker last

Of several repositories in one file all the heads come first, up to and with the folders, then the files of each.

A bundle travels as one part, or cut into volumes, or as a delta that carries what an older one lacks. Each part has the
contents of the whole tree, and says which part carries which file. Only a whole bundle has the marker, and only such a
one holds several repositories.

Writing is `packing` (gzip without compression, zstd, or nothing) over `packer` (ring of buffers, digests) over
`direct` (the disk), reading is `reader` over `unpacked`; both share `contents` (what is in a bundle), `text` (their one
text form) and `tar` (POSIX ustar).
"""
