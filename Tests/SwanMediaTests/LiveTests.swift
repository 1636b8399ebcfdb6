import Foundation
import SwanSystem
import Testing

@testable import SwanMedia

/// Names of live sources and receivers.
@Suite struct LiveNameTests {
    @Test(arguments: ["in.mp4", "-", "/dev/null", "a:b.mp4", "./rtsp://x", "video0", "/dev/video"])
    func otherNamesAreFiles(_ name: String) throws {
        #expect(try MediaLocation(name) == .file(name))
        #expect(try !MediaLocation(name).isLive)
    }

    @Test func parsesCameras() throws {
        guard
            case .device(let camera) = try MediaLocation("/dev/video2?size=1280x720&format=mjpeg")
        else {
            Issue.record("is no device")
            return
        }
        #expect(camera.path == "/dev/video2")
        #expect(camera.size == "1280x720")
        #expect(camera.format == "mjpeg")
        #expect(try MediaLocation("/dev/v4l/by-id/usb-Cam-index0").isLive)
        for name in ["/dev/video0?size=big", "/dev/video0?speed=9", "/dev/video0?format=a\nb=c"] {
            #expect(throws: SwanError.self) { try MediaLocation(name) }
        }
    }

    @Test func parsesScreens() throws {
        guard case .screen(let region) = try MediaLocation("screen::1.0/640x480+10+20") else {
            Issue.record("is no screen")
            return
        }
        #expect(region.display == ":1.0")
        #expect(region.size == "640x480")
        #expect(region.grabbed(from: ":0") == ":1.0+10,20")
        #expect(region.description == "screen::1.0/640x480+10+20")
        guard case .screen(let whole) = try MediaLocation("screen:") else {
            Issue.record("is no screen")
            return
        }
        #expect(whole.size == nil)
        #expect(whole.grabbed(from: ":7") == ":7+0,0")
        #expect(throws: SwanError.self) { try MediaLocation("screen:/640") }
    }

    @Test(arguments: [
        ("rtsp://me:secret@host:554/cam?token=secret", "rtsp://host:554/cam"),
        ("rtmp://live.example/app/secret", "rtmp://live.example/app/…"),
        ("RTMP://live.example/app/secret", "rtmp://live.example/app/…"),
        ("srt://host:9000?passphrase=secret", "srt://host:9000"),
        ("udp://:5000", "udp://:5000"),
        ("tcp://[::1]:5000", "tcp://[::1]:5000"),
        ("https://me:secret@host/a/live.m3u8?secret", "https://host/a/live.m3u8"),
    ])
    func namesInMessagesHaveNoSecrets(_ url: String, _ shown: String) throws {
        #expect(try MediaLocation(url).description == shown)
    }

    @Test(arguments: [
        ("tcp://host:1?listen", "tcp://host:1?listen=1", true),
        ("srt://:1?listen", "srt://:1?mode=listener", true),
        ("srt://:1?mode=listener", "srt://:1?mode=listener", true),
        ("rtmp://host/app/key?listen", "rtmp://host/app/key", true),
        ("rtmp://host/app/key?user=a", "rtmp://host/app/key?user=a", false),
    ])
    func listeningIsPartOfTheName(_ name: String, _ url: String, _ listens: Bool) throws {
        guard case .network(let address) = try MediaLocation(name) else {
            Issue.record("is no URL")
            return
        }
        #expect(address.url == url)
        #expect(address.isListening == listens)
    }

    @Test(arguments: ["ftp://host/a.mp4", "file:///etc/passwd", "concat://a", "data://x"])
    func unknownSchemesListTheKnownOnes(_ name: String) {
        let error = #expect(throws: SwanError.self) { try MediaLocation(name) }
        #expect(error?.code == .invalidRequest)
        #expect(error?.message.contains("rtsp://, rtmp://") ?? false)
    }

    @Test(arguments: ["udp://host", "tcp://host/5000", "srt://[::1]", "https://host/a?listen"])
    func malformedURLsAreInvalid(_ name: String) {
        let error = #expect(throws: SwanError.self) { try MediaLocation(name) }
        #expect(error?.code == .invalidRequest)
    }

    @Test func noSchemeMayOpenFiles() {
        for scheme in NetworkScheme.all {
            let protocols = Set(scheme.protocols.split(separator: ","))
            #expect(
                protocols.isDisjoint(with: ["file", "concat", "subfile", "data", "pipe", "fd"])
            )
            let formats = Set(scheme.formats.split(separator: ","))
            #expect(formats.isDisjoint(with: ["concat", "dash", "image2", "lavfi", "sdp", "imf"]))
            #expect(formats.contains("hls") == scheme.comesInBursts)
        }
    }

    @Test(arguments: ["http://host/a", "screen:", "rtsp://host:1/a?listen"])
    func nothingIsSentWhereNothingListens(_ name: String) throws {
        let location = try MediaLocation(name)
        let error = #expect(throws: SwanError.self) { try location.checkAsOutput() }
        #expect(error?.code == .invalidRequest)
    }

    @Test func theBitRateFollowsFromTheSize() throws {
        let rate = try #require(Rational(30))
        #expect(LiveWriter.bitRate(128, 128, rate) == 500_000)
        #expect(LiveWriter.bitRate(1_280, 720, rate) == 3_456_000)
    }
}

/// Video devices, of which the machine that runs the tests may have none.
@Suite struct VideoDeviceTests {
    @Test func listsCamerasWithoutTheirMetadata() throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("swan-v4l-\(UUID().uuidString)")
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: folder) } }
        for (node, name, index) in [
            ("video10", "Loopback\n", "0\n"), ("video2", "Camera\u{1B}[31m\n", "0\n"),
            ("video3", "Camera\n", "1\n"), ("vbi0", "TV\n", "0\n"),
        ] {
            let entry = folder.appendingPathComponent(node)
            try FileManager.default.createDirectory(at: entry, withIntermediateDirectories: true)
            try Data(name.utf8).write(to: entry.appendingPathComponent("name"))
            try Data(index.utf8).write(to: entry.appendingPathComponent("index"))
        }
        let devices = VideoDevices.all(in: folder.path)
        #expect(devices.map(\.path) == ["/dev/video2", "/dev/video10"])
        #expect(devices.last?.name == "Loopback")
        let sentence = VideoDevices.sentence(devices)
        #expect(sentence.contains("/dev/video10 (Loopback)"))
        #expect(!sentence.contains("\u{1B}"))
        #expect(VideoDevices.sentence([]) == "this machine has no video devices")
        #expect(VideoDevices.all(in: "/nowhere").isEmpty)
    }

    @Test func aMissingCameraIsNamedWithThoseThatExist() throws {
        let cancellation = try MediaCancellation()
        let camera = try MediaLocation("/dev/video4095")
        let error = #expect(throws: SwanError.self) {
            try VideoReader(live: camera, cancellation: cancellation)
        }
        #expect(error?.code == .noSuchFile)
        #expect(error?.message.hasPrefix("/dev/video4095: no such device; th") ?? false)
        let rate = try #require(Rational(25))
        let output = #expect(throws: SwanError.self) {
            try LiveWriter(
                camera,
                width: 32,
                height: 32,
                frameRate: rate,
                cancellation: cancellation
            )
        }
        #expect(output?.code == .cannotWrite)
        #expect(output?.message.contains("v4l2loopback") ?? false)
    }

    @Test func cancellingEndsTheWaitForASender() throws {
        let cancellation = try MediaCancellation()
        let location = try MediaLocation("tcp://127.0.0.1:\(Self.freePort())?listen")
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.3) { cancellation.cancel() }
        let error = #expect(throws: SwanError.self) {
            try VideoReader(live: location, cancellation: cancellation)
        }
        #expect(error?.code == .interrupted)
    }

    /// A port that no program uses now.
    private static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        try #require(isBound)
        return UInt16(bigEndian: address.sin_port)
    }
}
