import Testing

@testable import SwanMedia
import SwanSystem

@Suite("Fractions, patterns, output formats, frames")
struct ValueTests {
    @Test(
        "rates are read from text",
        arguments: [
            ("30", 30, 1), ("30000/1001", 30000, 1001), ("30000:1001", 30000, 1001),
            ("60/2", 30, 1),
            ("29.97", 30000, 1001), ("23.976", 24000, 1001), ("59.94", 60000, 1001),
            ("12.5", 25, 2),
            ("29.5", 59, 2), ("24", 24, 1),
        ],
    )
    func rates(text: String, numerator: Int, denominator: Int) throws {
        let rate = try #require(Rational(text))
        #expect(rate == Rational(numerator, denominator))
    }

    @Test(
        "and nonsense is not",
        arguments: ["", "0", "-5", "1/0", "a", "1/2/3", "nan", "inf", "1e300"]
    )
    func noRates(text: String) {
        #expect(Rational(text) == nil)
    }

    @Test("patterns contain one number")
    func patterns() throws {
        #expect(try FramePattern("out/f_%05d.png").path(7) == "out/f_00007.png")
        #expect(try FramePattern("f%d.png").path(1234) == "f1234.png")
        #expect(try FramePattern("100%%_%02d.png").path(3) == "100%_03.png")
        #expect(FramePattern(directory: "out/").path(12) == "out/frame_00012.png")
        #expect(try FramePattern("a/b/%d.png").directory == "a/b/")
        #expect(try FramePattern("%d.png").directory == nil)
    }

    @Test("the extension determines the format")
    func kinds() throws {
        typealias Movie = OutputFormat
        #expect(
            try OutputFormat(path: "a.MP4", codec: .automatic)
                == .movie(container: "mp4", codec: .h264)
        )
        #expect(
            try OutputFormat(path: "a.mkv", codec: .automatic)
                == .movie(container: "matroska", codec: .ffv1)
        )
        #expect(
            try OutputFormat(path: "a.mkv", codec: .h264)
                == .movie(container: "matroska", codec: .h264)
        )
        #expect(try OutputFormat(path: "-", codec: .automatic) == .y4m)
        #expect(try OutputFormat(path: "x/y.y4m", codec: .automatic) == .y4m)
    }

    @Test("a codec that the container does not support is refused")
    func mismatch() throws {
        let folder = try Folder()
        let rate = try #require(Rational(25))
        let error = try failure {
            _ = try VideoWriter(
                path: folder.file("a.mp4"),
                width: 16,
                height: 16,
                frameRate: rate,
                options: .init(codec: .ffv1),
            )
        }
        #expect(error.code == .unsupported)
        #expect(try folder.contents().isEmpty)
    }

    @Test("frames check their byte count and can be filled in place")
    func frames() throws {
        #expect(throws: SwanError.self) {
            _ = try VideoFrame(width: 4, height: 4, pixels: [1, 2, 3])
        }
        #expect(throws: SwanError.self) {
            _ = try VideoFrame(width: .max, height: .max, pixels: [])
        }
        let frame = VideoFrame(width: 2, height: 1, seconds: 1.5) { bytes in
            for index in bytes.indices { bytes[index] = UInt8(index) }
        }
        #expect(frame.pixels == [0, 1, 2, 3, 4, 5])
        #expect(frame.seconds == 1.5)
        #expect(frame.withUnsafeBytes { $0.count } == 6)
    }

    @Test("the sampler neither drops nor repeats frames at the original rate")
    func sampler() throws {
        let rate = try #require(Rational(30000, 1001))
        let frame = try VideoFrame.plain(1, 1, Color(0, 0, 0))
        for count in [0, 1, 2, 500] {
            var given = 0
            var sampler = FrameRateSampler(rate: rate)
            var shown = 0
            while true {
                let next = try sampler.next { () throws(SwanError) -> TimedFrame? in
                    guard given < count else { return nil }
                    defer { given += 1 }
                    // Timestamps in whole milliseconds, as in Matroska.
                    let seconds = (Double(given) * 1001 / 30).rounded() / 1000
                    return TimedFrame(frame: frame.shown(at: seconds), duration: 0.033)
                }
                guard next != nil else { break }
                shown += 1
            }
            #expect(shown == count)
        }
    }

    @Test(
        "the sampler comes to an end whatever the times",
        arguments: [
            [0, 0.04, 0.08, 1e12, 1e12 + 0.04], [0, 0.04, -1e18, 0.04], [100, 0, 100, 0],
            [0, 1e308, -1e308, 1e308], [50, 50.04, 0, 0.04, 0.08],
        ]
    )
    func samplerOfAnyTimes(times: [Double]) throws {
        var sampler = FrameRateSampler(rate: try #require(Rational(25)))
        let frame = try VideoFrame.plain(1, 1, Color(0, 0, 0))
        var rest = times[...]
        var shown = 0
        while shown < 20_000 {
            let next = try sampler.next { () throws(SwanError) -> TimedFrame? in
                rest.popFirst().map { TimedFrame(frame: frame.shown(at: $0), duration: 0.04) }
            }
            guard next != nil else { break }
            shown += 1
        }
        #expect(rest.isEmpty)
        // Gaps of up to ten minutes are plausible.
        #expect((times.count - 1...15_002).contains(shown))
    }

    @Test("fractions need finite positive numbers")
    func fractionsOfAnything() {
        for value in [Double.nan, .infinity, -.infinity, 0, -0.0, -1, 1e300, 1e-300] {
            #expect(Rational(value) == nil)
        }
        for text in [
            "nan", "inf", "-1", "0", "0/0", "1/0", "0/1", "1e400", "9e99", "-5/-5", "1//2",
        ] {
            #expect(Rational(text) == nil, "\(text)")
        }
        #expect(Rational(.max, .max) == .one)
        #expect(Rational(.max, 1) == nil && Rational(.min, .min) == nil)
    }

    @Test("frames refuse invalid and excessive sizes")
    func absurdSizes() throws {
        let frame = try VideoFrame.plain(3000, 1, Color(0, 0, 0))
        for (width, height) in [(0, 1), (1, -1), (.max, 1), (1, .max), (.min, .min)] {
            #expect(throws: SwanError.self) { try frame.covering(width: width, height: height) }
            #expect(throws: SwanError.self) { try frame.resized(width: width, height: height) }
            #expect(throws: SwanError.self) {
                try frame.cropped(left: 1, top: 0, width: width, height: height)
            }
        }
        #expect(throws: SwanError.self) {
            try frame.cropped(left: .max, top: .max, width: 1, height: 1)
        }
        let error = try failure { _ = try frame.covering(width: 832, height: 480) }
        #expect(error.code == .unsupported)
    }

    @Test("the libraries report version, license and encoders")
    func library() {
        #expect(!MediaLibrary.version.isEmpty)
        #expect(MediaLibrary.license.contains("GPL"))
        #expect(MediaLibrary.hasEncoder("png"))
        #expect(!MediaLibrary.hasEncoder("no such encoder"))
    }
}
