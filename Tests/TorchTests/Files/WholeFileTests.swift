import Foundation
import GoldenSupport
import Testing
import Torch
import SwanSystem

@Suite struct WholeFileTests {
    @Test func aFileIsReplacedAndNothingElseIsLeft() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("config.json")
        for text in ["{}", "", "{\"a\": 1}"] {
            try WholeFile.write(text.utf8, to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        #expect(try folder.names == ["config.json"])
        WholeFile.sync(path)
        WholeFile.sync(folder.path("nowhere"))
    }

    @Test func whereItCannotBeTheErrorNamesIt() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("nowhere/config.json")
        let error = #expect(throws: SwanError.self) { try WholeFile.write("".utf8, to: path) }
        #expect(error?.code == .cannotWrite && error?.message.contains(path) == true)
    }
}
