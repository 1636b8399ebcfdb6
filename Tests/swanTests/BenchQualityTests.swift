import Foundation
import GoldenSupport
import SwanMedia
import Testing

/// `swan bench tiny-quality`, with random weights.
@Suite struct BenchQualityTests {
    @Test func untrainedModelsFail() throws {
        let fixture = try Fixture.shared.get()
        let folder = try TemporaryDirectory()
        let arguments = [
            "bench", "tiny-quality", "--model", fixture.model, "--input", fixture.clip, "--input",
            fixture.clip, "--styles", "none,sepia", "--max-frames", "9", "--drift-frames", "40",
            "--sheet-frame", "100", "--sheet",
        ]
        let first = try Program(arguments + [folder.path("a.png"), "--json", "--check"]).end()
        #expect(first.code == 65)
        let report = try StreamTests.fields(first.output)
        #expect(report["styles"] as? [String] == Self.styles)
        let rows = try #require(report["rows"] as? [[String: Any]])
        let kinds = ["vae", "styles", "styles", "changes", "drift"]
        #expect(rows.map { $0["measure"] as? String } == kinds + kinds)
        for row in rows {
            let figures = try #require(row["figures"] as? [[String: Any]])
            #expect(figures.allSatisfy { $0["value"] is Double }, "\(row)")
        }
        #expect(first.messages.contains("10 of 10"))
        let sheet = try readImage(folder.path("a.png"))
        #expect(sheet.width == 2 * 148 && sheet.height == 2 * 148)

        let again = try Program(arguments + [folder.path("b.png")]).end()
        #expect(again.code == 0)
        #expect(again.text.contains("FAILED  vae"))
        #expect(again.text.hasSuffix("rows meet their bounds\n"))
        #expect(
            try Data(contentsOf: folder.url.appending(path: "a.png"))
                == Data(contentsOf: folder.url.appending(path: "b.png"))
        )
    }

    @Test func namesMissingClips() throws {
        let folder = try TemporaryDirectory()
        let outcome = try Program.run("bench", "tiny-quality", in: folder.path(""))
        #expect(outcome.code == 66)
        #expect(outcome.messages.contains(".deps/media/bikes.mp4"))
        #expect(outcome.messages.contains("scripts/bootstrap"))
    }

    @Test func refusesAnUnwritableSheetFirst() throws {
        let outcome = try Program(["bench", "tiny-quality", "--sheet", "nowhere/a.png"]).end()
        #expect(outcome.code == 73)
        #expect(outcome.messages.contains("nowhere/a.png"))
    }

    @Test(arguments: [
        ["--measures", "speed"], ["--max-frames", "1"], ["--sheet", "a.jpg"],
        ["--measures", "vae,vae"], ["--styles", ""], ["--styles", ","], ["--measures", ""],
        ["--measures", "changes", "--styles", "sepia", "--check"],
    ])
    func invalidOptionsAreUsageErrors(options: [String]) throws {
        #expect(try Program(["bench", "tiny-quality"] + options).end().code == 64)
    }

    @Test func speedIsASubcommand() throws {
        #expect(try Program.run("bench", "speed", "--help").text.contains("ops, dit, vae"))
        let outcome = try Program.run("bench", "nothing")
        #expect(outcome.code == 64)
        #expect(outcome.messages.contains("nothing"))
    }

    private static let styles = [
        "none", "sketch", "neon", "thermal", "night", "sepia", "comic", "pixel-art", "autumn",
    ]
}
