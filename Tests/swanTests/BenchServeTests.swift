import ArgumentParser
import SwanServeBench
import Testing

@testable import swan

@Suite struct BenchServeTests {
    @Test func rowsAreAList() throws {
        let command = try BenchServeCommand.parse(["--rows", "start,glass-model", "--seconds", "5"])
        #expect(command.rows.names == [.start, .glassModel])
        #expect(try BenchServeCommand.parse([]).rows.names.count == 8)
    }

    @Test(arguments: [
        ["--rows", "fast"], ["--rows", "start,start"], ["--rows", ""], ["--seconds", "0"],
        ["--seconds", "nan"], ["--rounds", "0"], ["--cycles", "1"],
    ])
    func invalidOptionsAreRefused(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try BenchServeCommand.parse(arguments) }
    }

    @Test func helpNamesAllRows() throws {
        let help = try Program.run("bench", "serve", "--help")
        #expect(help.code == 0)
        for name in BenchServeTests.names { #expect(help.text.contains(name), "\(name)") }
    }

    private static let names = [
        "glass", "glass-model", "sessions", "batching", "churn", "hostile", "prompt", "start",
    ]
}
