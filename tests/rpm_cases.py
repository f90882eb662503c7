"""Rules of choosing RPMs as data: test_rpm_resolve.py holds us to them, test_dnf_oracle.py dnf itself."""

from rpm_universes import Case, Repo, comps, defaults, module

TWO = Repo("a 1-1 x86_64\n a 2-1 x86_64\n b 1-1 noarch; requires: a")
MULTILIB = Repo(
    """
    lib 1-1 x86_64; provides: lib.so()(64bit)
    lib 1-1 i686; provides: lib.so
    old 1-1 i686
    app 1-1 x86_64; requires: lib.so()(64bit)
    wine 1-1 x86_64; requires: lib.so
    app 1-1 src
    only-src 1-1 src
    """
)
WEAK = Repo(
    """
    app 1-1 noarch; requires: lib; recommends: extra, absent
    lib 1-1 noarch
    extra 1-1 noarch
    addon 1-1 noarch; supplements: app
    hint 1-1 noarch
    """
)
OBSOLETES = Repo(
    """
    old 1-1 noarch
    old-tools 1-1 noarch
    new 2-1 noarch; obsoletes: old < 2, old-tools; provides: old = 2
    later 1-1 noarch; obsoletes: new < 1
    """
)
PGDG = Repo(
    """
    postgresql16 16.9-1 x86_64; requires: postgresql16-libs = 16.9-1
    postgresql16 16.8-1 x86_64; requires: postgresql16-libs = 16.8-1
    postgresql16-libs 16.9-1 x86_64; provides: libpq.so.5()(64bit)
    postgresql16-libs 16.8-1 x86_64; provides: libpq.so.5()(64bit)
    postgresql16-server 16.9-1 x86_64; requires: postgresql16 = 16.9-1
    postgresql16-server 16.8-1 x86_64; requires: postgresql16 = 16.8-1
    postgresql17 17.5-1 x86_64; requires: postgresql17-libs = 17.5-1
    postgresql17-libs 17.5-1 x86_64; provides: libpq.so.5()(64bit)
    postgresql17-server 17.5-1 x86_64; requires: postgresql17 = 17.5-1
    pgtool 1-1 noarch; requires: libpq.so.5()(64bit)
    """
)
STREAMS = module("db", "1", "db-0:1-1.x86_64 db-libs-0:1-1.x86_64 db-0:1-1.src", profiles={"server": "db db-libs"})
STREAMS += module("db", "2", "db-0:2-1.x86_64 db-libs-0:2-1.x86_64", profiles={"server": "db", "client": "db-libs"})
DB = """
    db 1-1 x86_64; requires: db-libs = 1-1
    db-libs 1-1 x86_64
    db 2-1 x86_64; requires: db-libs = 2-1
    db-libs 2-1 x86_64
    db 3-1 x86_64
    fake-db 1-1 noarch; provides: db-libs
    user 1-1 noarch; requires: db-libs
"""
MODULAR = Repo(DB, STREAMS)
DEFAULTED = Repo(DB, STREAMS + defaults("db", "1", "1: [server], 2: [client]"))
GROUPS = Repo(
    """
    must 1-1 noarch
    should 1-1 noarch
    could 1-1 noarch
    there 1-1 noarch
    lang 1-1 noarch
    """,
    comps=comps(
        "tools: mandatory=must default=should optional=could conditional=lang/there mandatory=absent",
        "more: mandatory=could",
        "+everything: tools more",
    ),
)


def contexts(**second: str) -> Repo:
    """Return an upstream with two builds of one stream, which differ in what they require."""
    return Repo(
        "m 1-1 noarch\n m 2-1 noarch",
        module("m", "1", "m-0:1-1.noarch", context="a")
        + module("m", "1", "m-0:2-1.noarch", context="b", **{"version": 2, **second}),
    )


CASES = (
    Case("the highest version is taken", {"r": TWO}, ["a"], ["a-2-1.x86_64"]),
    Case("what is required comes along", {"r": TWO}, ["b"], ["a-2-1.x86_64", "b-1-1.noarch"]),
    Case("name-version-release names that one", {"r": TWO}, ["a-1-1"], ["a-1-1.x86_64"]),
    Case("name-version names that one", {"r": TWO}, ["a-1"], ["a-1-1.x86_64"]),
    Case("a NEVRA names that one", {"r": TWO}, ["a-0:1-1.x86_64"], ["a-1-1.x86_64"]),
    Case("a glob takes every name it fits", {"r": TWO}, ["?"], ["a-2-1.x86_64", "b-1-1.noarch"]),
    Case("a glob may fit versions", {"r": TWO}, ["a-1*"], ["a-1-1.x86_64"]),
    Case("the epoch outweighs the version", {"r": Repo("a 9-1 noarch\n a 1:1-1 noarch")}, ["a"], ["a-1:1-1.noarch"]),
    Case(
        "a capability stands for who provides it",
        {"r": Repo("mta 1-1 noarch; provides: smtp = 2")}, ["smtp"], ["mta-1-1.noarch"],
    ),
    Case(
        "a capability may be versioned",
        {"r": Repo("x 1-1 noarch; provides: smtp = 1\n y 1-1 noarch; provides: smtp = 2")}, ["smtp >= 2"], ["y-1-1.noarch"],
    ),
    Case("a path of primary", {"r": Repo("x 1-1 noarch; files: /usr/bin/x")}, ["/usr/bin/x"], ["x-1-1.noarch"]),
    Case("a path beyond primary", {"r": Repo("x 1-1 noarch; files: /opt/x")}, ["/opt/x"], ["x-1-1.noarch"]),
    Case("a glob of paths", {"r": Repo("x 1-1 noarch; files: /opt/x")}, ["/op*/x"], ["x-1-1.noarch"]),
    Case(
        "a required path beyond primary is found",
        {"r": Repo("x 1-1 noarch; files: /opt/x\n y 1-1 noarch; requires: /opt/x")}, ["y"], ["x-1-1.noarch", "y-1-1.noarch"],
    ),
    Case(
        "a path beyond primary decides which version is taken",
        {"r": Repo("x 1-1 noarch; files: /opt/x\n y 1-1 noarch\n y 2-1 noarch; requires: /opt/x\n z 1-1 noarch; requires: y")},
        ["z"], ["x-1-1.noarch", "y-2-1.noarch", "z-1-1.noarch"],
    ),
    Case("the 64-bit build is taken", {"r": MULTILIB}, ["lib"], ["lib-1-1.x86_64"]),
    Case("a 32-bit build comes when it is asked for", {"r": MULTILIB}, ["lib.i686"], ["lib-1-1.i686"]),
    Case(
        "both builds may be asked for",
        {"r": MULTILIB}, ["lib.i686", "lib.x86_64"], ["lib-1-1.i686", "lib-1-1.x86_64"],
    ),
    Case(
        "a 64-bit package gets 64-bit libraries",
        {"r": MULTILIB}, ["app"], ["app-1-1.x86_64", "lib-1-1.x86_64"],
    ),
    Case(
        "a newer 32-bit build does not outweigh the 64-bit one",
        {"r": Repo("a 1-1 x86_64\n a 2-1 i686")}, ["a"], ["a-1-1.x86_64"],
    ),
    Case("a name that has only a 32-bit build", {"r": MULTILIB}, ["old"], ["old-1-1.i686"]),
    Case("source packages are not there", {"r": MULTILIB}, ["only-src"], None),
    Case("weak dependencies off", {"r": WEAK}, ["app"], ["app-1-1.noarch", "lib-1-1.noarch"]),
    Case(
        "weak dependencies on", {"r": WEAK}, ["app"],
        ["addon-1-1.noarch", "app-1-1.noarch", "extra-1-1.noarch", "lib-1-1.noarch"], weak=True,
    ),
    Case("what obsoletes a name stands for it", {"r": OBSOLETES}, ["old"], ["new-2-1.noarch"]),
    Case("what obsoletes a name without providing it", {"r": OBSOLETES}, ["old-tools"], ["new-2-1.noarch"]),
    Case("an obsoletes that does not cover the version", {"r": OBSOLETES}, ["new"], ["new-2-1.noarch"]),
    Case("an exact version is not obsoleted away", {"r": OBSOLETES}, ["old-tools-1"], ["old-tools-1-1.noarch"]),
    Case(
        "the best version or nothing",
        {"r": Repo("a 1-1 noarch\n a 2-1 noarch; requires: absent")}, ["a"], None,
    ),
    Case(
        "a dependency may be an older version",
        {"r": Repo("a 1-1 noarch\n a 2-1 noarch; requires: absent\n b 1-1 noarch; requires: a")},
        ["b"], ["a-1-1.noarch", "b-1-1.noarch"],
    ),
    Case("conflicts", {"r": Repo("a 1-1 noarch; conflicts: b\n b 1-1 noarch")}, ["a", "b"], None),
    Case("two versions of one package", {"r": TWO}, ["a-1", "a-2"], None),
    Case(
        "several versions of a kernel", {"r": Repo("kernel 1-1 x86_64\n kernel 2-1 x86_64")},
        ["kernel-1", "kernel-2"], ["kernel-1-1.x86_64", "kernel-2-1.x86_64"],
    ),
    Case(
        "rich dependencies", {"r": Repo("a 1-1 noarch; requires: (b if c)\n b 1-1 noarch\n c 1-1 noarch")},
        ["a", "c"], ["a-1-1.noarch", "b-1-1.noarch", "c-1-1.noarch"],
    ),
    Case(
        "priority outweighs the version",
        {"r": Repo("a 2-1 noarch"), "s": Repo("a 1-1 noarch", options={"priority": 11})}, ["a"], ["a-1-1.noarch"],
    ),
    Case(
        "priority counts for dependencies",
        {
            "r": Repo("a 2-1 noarch\n b 1-1 noarch; requires: a"),
            "s": Repo("a 1-1 noarch", options={"priority": 11}),
        },
        ["b"], ["a-1-1.noarch", "b-1-1.noarch"],
    ),
    Case(
        "excludepkgs by glob",
        {"r": Repo("libpq 2-1 noarch", options={"excludepkgs": ["postgresql*", "libpq"]}), "s": Repo("libpq 1-1 noarch")},
        ["libpq"], ["libpq-1-1.noarch"],
    ),
    Case(
        "excludepkgs by name.arch",
        {"r": Repo("a 1-1 x86_64\n a 1-1 i686", options={"excludepkgs": ["a.x86_64"]})}, ["a"], ["a-1-1.i686"],
    ),
    Case("excludepkgs by version", {"r": Repo(TWO.packages, options={"excludepkgs": ["a-2*"]})}, ["a"], ["a-1-1.x86_64"]),
    Case(
        "excludepkgs does not read capabilities",
        {"r": Repo("a 1-1 noarch; provides: x", options={"excludepkgs": ["x"]})}, ["a"], ["a-1-1.noarch"],
    ),
    Case(
        "excludepkgs of one upstream leaves the others alone",
        {"r": Repo("a 1-1 noarch", options={"excludepkgs": ["*"]}), "s": Repo("b 1-1 noarch")}, ["b"], ["b-1-1.noarch"],
    ),
    Case(
        "includepkgs hides the rest of its upstream",
        {"r": Repo("a 2-1 noarch\n b 2-1 noarch", options={"includepkgs": ["a"]}), "s": Repo("b 1-1 noarch")},
        ["a", "b"], ["a-2-1.noarch", "b-1-1.noarch"],
    ),
    Case(
        "excludepkgs outweighs includepkgs",
        {"r": Repo("a 1-1 noarch\n b 1-1 noarch", options={"includepkgs": ["a", "b"], "excludepkgs": ["b"]})}, ["b"], None,
    ),
    Case("a stream that is not enabled is not there", {"r": MODULAR}, ["db"], ["db-3-1.x86_64"]),
    Case(
        "an enabled stream hides what is not modular",
        {"r": MODULAR}, ["db"], ["db-2-1.x86_64", "db-libs-2-1.x86_64"], streams=["db:2"],
    ),
    Case(
        "an enabled stream hides what provides its names",
        {"r": MODULAR}, ["user"], ["db-libs-1-1.x86_64", "user-1-1.noarch"], streams=["db:1"],
    ),
    Case("what provides a hidden name is there without the stream", {"r": MODULAR}, ["user"], ["fake-db-1-1.noarch", "user-1-1.noarch"]),
    Case("the default stream is there", {"r": DEFAULTED}, ["db"], ["db-1-1.x86_64", "db-libs-1-1.x86_64"]),
    Case(
        "an enabled stream outweighs the default one",
        {"r": DEFAULTED}, ["db"], ["db-2-1.x86_64", "db-libs-2-1.x86_64"], streams=["db:2"],
    ),
    Case(
        "module_hotfixes are not hidden",
        {"r": DEFAULTED, "s": Repo("db 4-1 x86_64", options={"module_hotfixes": True})}, ["db"], ["db-4-1.x86_64"],
    ),
    Case(
        "without module_hotfixes another upstream is hidden too",
        {"r": DEFAULTED, "s": Repo("db 4-1 x86_64")}, ["db"], ["db-1-1.x86_64", "db-libs-1-1.x86_64"],
    ),
    Case("a module enables and installs its default profile", {"r": DEFAULTED}, ["@db:2"], ["db-libs-2-1.x86_64"]),
    Case("a module without stream means its default", {"r": DEFAULTED}, ["@db"], ["db-1-1.x86_64", "db-libs-1-1.x86_64"]),
    Case("a profile by name", {"r": DEFAULTED}, ["@db:2/server"], ["db-2-1.x86_64", "db-libs-2-1.x86_64"]),
    Case("a module of several streams without default", {"r": MODULAR}, ["@db"], None),
    Case("a module without default profile", {"r": MODULAR}, ["@db:2"], None),
    Case("a profile that is not there", {"r": DEFAULTED}, ["@db:2/desktop"], None),
    Case(
        "a stream for another platform is not active",
        {"r": Repo("a 1-1 noarch\n a 2-1 noarch", module("m", "1", "a-0:2-1.noarch", requires="platform: [el8]") + defaults("m", "1"))},
        ["a"], ["a-1-1.noarch"],
    ),
    Case(
        "a stream that requires a stream activates it",
        {"r": Repo(
            "a 1-1 noarch; requires: b\n b 1-1 noarch\n b 2-1 noarch",
            module("m", "1", "a-0:1-1.noarch", requires="platform: [el9], n: ['1']") + module("n", "1", "b-0:1-1.noarch") + module("n", "2", "b-0:2-1.noarch"),
        )},
        ["a"], ["a-1-1.noarch", "b-1-1.noarch"], streams=["m:1"],
    ),
    Case(
        "a default stream that requires another than the enabled one is not active",
        {"r": Repo(
            "a 1-1 noarch\n a 2-1 noarch\n b 1-1 noarch\n b 2-1 noarch",
            module("m", "1", "a-0:1-1.noarch", requires="platform: [el9], n: ['1']") + module("n", "1", "b-0:1-1.noarch") + module("n", "2", "b-0:2-1.noarch") + defaults("m", "1"),
        )},
        ["a", "b"], ["a-2-1.noarch", "b-2-1.noarch"], streams=["n:2"],
    ),
    Case(
        "a stream may require all but one",
        {"r": Repo(
            "a 1-1 noarch\n a 2-1 noarch\n b 1-1 noarch",
            module("m", "1", "a-0:1-1.noarch", requires="platform: [], n: ['-1']") + module("n", "1", "b-0:1-1.noarch") + defaults("m", "1"),
        )},
        ["a", "b"], ["a-2-1.noarch", "b-1-1.noarch"], streams=["n:1"],
    ),
    Case("builds of one context are active together", {"r": contexts()}, ["m-1"], ["m-1-1.noarch"], streams=["m:1"]),
    Case(
        "builds for another platform are active with their like, as in dnf",
        {"r": contexts(requires="platform: [el8]")}, ["m"], ["m-2-1.noarch"], streams=["m:1"],
    ),
    Case(
        "builds that require other streams are told apart",
        {"r": contexts(requires="platform: [el9], n: ['1']")}, ["m"], ["m-1-1.noarch"], streams=["m:1"],
    ),
    Case(
        "builds with a context of their own are told apart",
        {"r": Repo(
            "m 1-1 noarch\n m 2-1 noarch",
            module("m", "1", "m-0:1-1.noarch", context="a", static=True)
            + module("m", "1", "m-0:2-1.noarch", context="b", static=True, version=2, requires="platform: [el8]"),
        )},
        ["m"], ["m-1-1.noarch"], streams=["m:1"],
    ),
    Case(
        "an enabled stream that cannot be had is not there",
        {"r": Repo("a 1-1 noarch\n a 2-1 noarch", module("m", "1", "a-0:2-1.noarch", requires="platform: [el9], n: []"))},
        ["a"], ["a-1-1.noarch"], streams=["m:1"],
    ),
    Case(
        "enabled streams that exclude each other are not there",
        {"r": Repo(
            "a 1-1 noarch\n a 2-1 noarch\n b 1-1 noarch\n b 2-1 noarch\n c 1-1 noarch",
            module("m", "1", "a-0:2-1.noarch", requires="platform: [el9], n: ['2']") + module("n", "1", "b-0:2-1.noarch") + module("n", "2", "c-0:1-1.noarch"),
        )},
        ["a", "b"], ["a-1-1.noarch", "b-1-1.noarch"], streams=["m:1", "n:1"],
    ),
    Case(
        "the newest version of a stream is the one that is installed",
        {"r": Repo("m 1-1 noarch\n m 2-1 noarch", module("m", "1", "m-0:1-1.noarch") + module("m", "1", "m-0:2-1.noarch", version=2))},
        ["m"], ["m-2-1.noarch"], streams=["m:1"],
    ),
    Case(
        "packages given back by a stream are not hidden",
        {"r": Repo("a 1-1 noarch\n a 2-1 noarch", module("m", "1", "a-0:1-1.noarch", demodularized="a"))},
        ["a"], ["a-2-1.noarch"], streams=["m:1"],
    ),
    Case(
        "the name of a stream's source package hides nothing",
        {"r": Repo("x 1-1 noarch\n x-libs 1-1 noarch", module("m", "1", "x-0:1-1.src x-libs-0:1-1.noarch"))},
        ["x"], ["x-1-1.noarch"], streams=["m:1"],
    ),
    Case(
        "upstreams that name different default streams name none",
        {"r": DEFAULTED, "s": Repo("x 1-1 noarch", module("e", "1", "e-0:1-1.noarch") + defaults("db", "2"))},
        ["db"], ["db-3-1.x86_64"],
    ),
    Case(
        "the newer of two defaults counts",
        {"r": DEFAULTED, "s": Repo("x 1-1 noarch", module("e", "1", "e-0:1-1.noarch") + defaults("db", "2", modified=202001010000))},
        ["db"], ["db-2-1.x86_64", "db-libs-2-1.x86_64"],
    ),
    Case(
        "a package may come from one upstream only",
        {"base": Repo("loki 4-1 x86_64\n app 1-1 noarch; requires: loki"), "infra": Repo("loki 3-1 x86_64\n loki 2-1 x86_64")},
        ["app"], ["app-1-1.noarch", "loki-3-1.x86_64"], origins={"loki": "infra"},
    ),
    Case(
        "a package that its only upstream lacks is not there",
        {"base": Repo("loki 4-1 x86_64\n b 1-1 noarch"), "infra": Repo("grafana 3-1 x86_64")},
        ["loki"], None, origins={"loki": "infra"},
    ),
    Case(
        "what a package of another upstream would provide is not there either",
        {"base": Repo("loki 4-1 x86_64; provides: logs\n app 1-1 noarch; requires: logs"),
         "infra": Repo("sink 1-1 noarch; provides: logs")},
        ["app"], ["app-1-1.noarch", "sink-1-1.noarch"], origins={"loki": "infra"},
    ),
    Case(
        "an older version is taken with the older ones that it needs",
        {"r": Repo("app 2-1 x86_64; requires: lib = 2\n app 1-1 x86_64; requires: lib = 1\n lib 2-1 noarch\n lib 1-1 noarch")},
        ["app-1-1.x86_64"], ["app-1-1.x86_64", "lib-1-1.noarch"],
    ),
    Case(
        "majors of PostgreSQL install together",
        {"r": PGDG}, ["postgresql16-server", "postgresql17-server", "pgtool"],
        ["pgtool-1-1.noarch", "postgresql16-16.9-1.x86_64", "postgresql16-libs-16.9-1.x86_64",
         "postgresql16-server-16.9-1.x86_64", "postgresql17-17.5-1.x86_64", "postgresql17-libs-17.5-1.x86_64",
         "postgresql17-server-17.5-1.x86_64"],
    ),
    Case(
        "a major of the distribution and one of the same number exclude each other",
        {"r": PGDG, "appstream": Repo("postgresql-server 16.8-1 x86_64; conflicts: postgresql16-server")},
        ["postgresql16-server", "postgresql-server"], None,
    ),
    Case("a group: mandatory and default", {"r": GROUPS}, ["@tools"], ["must-1-1.noarch", "should-1-1.noarch"]),
    Case(
        "a group: conditional where its condition is met",
        {"r": GROUPS}, ["@tools", "there"], ["lang-1-1.noarch", "must-1-1.noarch", "should-1-1.noarch", "there-1-1.noarch"],
    ),
    Case("a group by the name for people", {"r": GROUPS}, ["@more Name"], ["could-1-1.noarch"]),
    Case("a group with types", {"r": GROUPS}, ["@tools/mandatory,optional"], ["could-1-1.noarch", "must-1-1.noarch"]),
    Case("an environment", {"r": GROUPS}, ["@everything"], ["could-1-1.noarch", "must-1-1.noarch", "should-1-1.noarch"]),
    Case("a group that is not there", {"r": GROUPS}, ["@absent"], None),
)  # fmt: skip
