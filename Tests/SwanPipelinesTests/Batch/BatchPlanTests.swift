import Foundation
import GoldenSupport
import SwanPipelines
import SwanSystem
import Testing

/// What several inputs and an output mean together.
@Suite struct BatchPlanTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
    }

    private func make(_ names: String...) throws {
        for name in names {
            let path = folder.url.appending(path: name)
            try FileManager.default.createDirectory(
                at: path.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data([1]).write(to: path)
        }
    }

    private func outputs(_ inputs: [String], _ output: String, _ format: String? = nil) throws
        -> [String]
    {
        let plan = try BatchPlan(
            inputs: inputs.map { folder.path($0) },
            output: folder.path(output),
            format: format
        )
        guard case .several(let jobs) = plan else { return ["one"] }
        return jobs.map { String($0.output.dropFirst(folder.url.path.count + 1)) }
    }

    @Test func namesOutputsAfterInputs() throws {
        try make("a.mp4", "b.MOV", "c.wmv", "x/a.mp4", "d.jpg", "e.bmp")
        #expect(
            try outputs(["a.mp4", "b.MOV", "c.wmv"], "new") == [
                "new/a.mp4", "new/b.mov", "new/c.mp4",
            ]
        )
        #expect(
            try outputs(["a.mp4", "x/a.mp4", "d.jpg", "e.bmp"], "new/") == [
                "new/a.mp4", "new/a-2.mp4", "new/d.jpg", "new/e.png",
            ]
        )
        #expect(try outputs(["a.mp4", "b.MOV"], "new", "webm") == ["new/a.webm", "new/b.webm"])
    }

    @Test func aFolderAndAPatternStandForTheirVideos() throws {
        try make("v/2.mp4", "v/10.mkv", "v/notes.txt", "v/.1.mp4", "p/1.png", "p/2.png")
        #expect(try outputs(["v"], "new") == ["new/2.mp4", "new/10.mkv"])
        #expect(try outputs(["v/*.m*"], "new") == ["new/2.mp4", "new/10.mkv"])
        #expect(try outputs(["p"], "out.mp4") == ["one"])
        #expect(try outputs(["p/*.png"], "out.mp4") == ["one"])
        #expect(try outputs(["p", "v/2.mp4"], "new") == ["new/p.mp4", "new/2.mp4"])
    }

    @Test func picturesBesideVideosAreOneVideoForOneFile() throws {
        try make("p/1.png", "p/2.png", "p/old.mp4", "v/only.mp4")
        #expect(try outputs(["p"], "p/new.mp4") == ["one"])
        #expect(try outputs(["p"], "new") == ["new/old.mp4"])
        let plan = try BatchPlan(inputs: [folder.path("v")], output: "o.mp4")
        #expect(
            plan == .single(input: folder.path("v") + "/only.mp4", pictures: [], output: "o.mp4")
        )
    }

    @Test func picturesForOneFileAreOneVideo() throws {
        try make("f1.png", "f2.png", "f10.png")
        let names = ["f1.png", "f10.png", "f2.png"].map { folder.path($0) }
        let plan = try BatchPlan(inputs: names, output: folder.path("o.gif"))
        let natural = ["f1.png", "f2.png", "f10.png"].map { folder.path($0) }
        #expect(plan == .single(input: natural[0], pictures: natural, output: folder.path("o.gif")))
        let own = Array(names.reversed())
        let kept = try BatchPlan(inputs: own, output: "-")
        #expect(kept == .single(input: own[0], pictures: own, output: "-"))
    }

    @Test func oneInputGoesIntoAFolderThatExists() throws {
        try make("a.mp4", "out/x")
        let plan = try BatchPlan(inputs: [folder.path("a.mp4")], output: folder.path("out"))
        let path = folder.path("out") + "/a.mp4"
        #expect(plan == .single(input: folder.path("a.mp4"), pictures: [], output: path))
        let pictures = try BatchPlan(inputs: ["a.mp4"], output: "out/")
        #expect(pictures == .single(input: "a.mp4", pictures: [], output: "out/"))
        #expect(
            try BatchPlan(inputs: [], output: "o.mp4")
                == .single(
                    input: nil,
                    pictures: [],
                    output: "o.mp4"
                )
        )
    }

    @Test func severalInputsNeedAFolder() throws {
        try make("a.mp4", "b.mp4")
        for output in ["o.mp4", "a.mp4"] {
            let error = #expect(throws: SwanError.self) {
                _ = try outputs(["a.mp4", "b.mp4"], output)
            }
            #expect(error?.code == .invalidRequest && error?.message.contains("folder") == true)
        }
        for other in ["-", "rtsp://camera/x"] {
            let error = #expect(throws: SwanError.self) {
                _ = try BatchPlan(inputs: ["a.mp4", other], output: "out/")
            }
            #expect(error?.code == .invalidRequest && error?.message.contains("alone") == true)
        }
    }
}
