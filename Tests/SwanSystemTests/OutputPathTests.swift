import Foundation
import GoldenSupport
import Testing
import SwanSystem

@Suite struct OutputPathTests {
    @Test func replacesAFileWithoutLeftovers() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("config.json")
        for text in ["{}", "", "{\"a\": 1}"] {
            try OutputPath.write(text.utf8, to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        #expect(try folder.names == ["config.json"])
        OutputPath.sync(path)
        OutputPath.sync(folder.path("nowhere"))
    }

    @Test func namesAPathThatCannotBeWritten() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("nowhere/config.json")
        let error = #expect(throws: SwanError.self) { try OutputPath.write("".utf8, to: path) }
        #expect(error?.code == .cannotWrite && error?.message.contains(path) == true)
    }
}
