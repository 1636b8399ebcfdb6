import SwanCheckpoints
import SwanPipelines
import Testing
import Yams

/// Hostile YAML.
@Suite struct StrictYAMLTests {
    /// Each line expands to twice as many values as the line before: a "billion laughs" attack.
    private static let laughs =
        "a: &a [x, x]\n"
        + zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz")
        .map { "\($1): &\($1) [*\($0), *\($0)]\n" }.joined()

    private static func many(_ part: String, _ count: Int) -> String {
        String(repeating: part, count: count)
    }

    /// YAML text, and a part of the expected error.
    static let bad: [(String, String)] = [
        (laughs, "too many values"),
        (laughs + "? *z\n: 1\n", "too many values"),
        ("a: &a [1]\n? *a\n: 2\n", "a key must be a scalar"),
        ("? [a, b]\n: 1\n", "a key must be a scalar"),
        ("? {a: b}\n: 1\n", "a key must be a scalar"),
        (many("[", 500), "too deep"),
        (many("[", 100_000), "not YAML"),
        (many("- ", 10_000) + "a", "too deep"),
        (many("? ", 10_000) + "a", "a key must be a scalar"),
        (many("{a: ", 10_000), "too deep"),
        ("a: &a \(many("[", 30))\(many("]", 30))\nb: [[*a]]\n", "too deep"),
        (many("- a\n", 30_000), "too many values"),
        ("a: \(many("x", 1 << 20))", "bytes"),
        ("a: 1:1:1:1:1:1:1:1:1:1:1:1", "base 60"),
        ("a: &a\n  b: *a\n", "undefined alias"),
        ("a: *b\n", "undefined alias"),
        ("a: 1\na: 2\n", "duplicated key"),
        ("a: [", "not YAML"),
        ("--- a\n--- b\n", "another document"),
    ]

    @Test(arguments: bad) func refusesHostileYAML(_ yaml: String, _ words: String) {
        let error = #expect(throws: StrictYAML.Failure.self) { try StrictYAML.compose(yaml) }
        let said = error?.description ?? ""
        #expect(said.contains(words), "\(said.prefix(200))")
    }

    @Test func readsWhatConfigurationsNeed() throws {
        let node = try StrictYAML.compose(
            """
            base: &base {rate: 1.0e-3, names: [a, "1:30", '*b']}
            other: *base
            merged:
              <<: *base
              rate: 2
            """
        )
        #expect(node?["other"]?["rate"]?.float == 0.001)
        #expect(node?["base"]?["names"]?[1]?.string == "1:30")
        #expect(try StrictYAML.compose("") == nil)
        #expect(try StrictYAML.compose("# nothing\n") == nil)
    }
}
