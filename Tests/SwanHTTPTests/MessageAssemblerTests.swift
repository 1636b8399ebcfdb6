import NIOCore
import NIOWebSocket
import Testing

@testable import SwanHTTP

@Suite struct MessageAssemblerTests {
    private static let key: WebSocketMaskingKey = [1, 2, 3, 4]

    private func frame(
        _ opcode: WebSocketOpcode,
        _ bytes: [UInt8] = [],
        fin: Bool = true,
        rsv1: Bool = false,
        isMasked: Bool = true
    ) -> WebSocketFrame {
        var data = ByteBuffer(bytes: bytes)
        if isMasked { data.webSocketMask(Self.key) }
        return WebSocketFrame(
            fin: fin,
            rsv1: rsv1,
            opcode: opcode,
            maskKey: isMasked ? Self.key : nil,
            data: data
        )
    }

    private var limits: WebServerOptions.WebSocketLimits {
        var limits = WebServerOptions.WebSocketLimits()
        limits.textBytes = 10
        limits.binaryBytes = 20
        limits.fragments = 4
        return limits
    }

    /// The last event, or the code with which the connection fails.
    private func code(_ frames: WebSocketFrame...) -> UInt16? {
        var assembler = MessageAssembler(limits)
        do {
            for frame in frames { _ = try assembler.receive(frame) }
            return nil
        } catch {
            return error.code
        }
    }

    @Test func messagesAreUnmasked() throws {
        var assembler = MessageAssembler(limits)
        #expect(
            try assembler.receive(frame(.text, Array("héllo".utf8))) == .message(.text("héllo"))
        )
        #expect(
            try assembler.receive(frame(.binary, [1, 2, 3, 4, 5]))
                == .message(.binary(ByteBuffer(bytes: [1, 2, 3, 4, 5])))
        )
        #expect(try assembler.receive(frame(.ping, [9])) == .ping(ByteBuffer(bytes: [9])))
        #expect(try assembler.receive(frame(.pong)) == .pong)
    }

    @Test func fragmentsAreJoinedAroundControlFrames() throws {
        var assembler = MessageAssembler(limits)
        let bytes = Array("héllo".utf8)
        // The first fragment ends within a character.
        #expect(try assembler.receive(frame(.text, Array(bytes[..<2]), fin: false)) == .fragment)
        #expect(try assembler.receive(frame(.ping)) == .ping(ByteBuffer()))
        #expect(try assembler.receive(frame(.continuation, [], fin: false)) == .fragment)
        #expect(
            try assembler.receive(frame(.continuation, Array(bytes[2...])))
                == .message(.text("héllo"))
        )
        #expect(try assembler.receive(frame(.text)) == .message(.text("")))
    }

    @Test func malformedFramesAreProtocolErrors() throws {
        #expect(code(frame(.text, isMasked: false)) == 1002)
        #expect(code(frame(.text, rsv1: true)) == 1002)
        for reserved in [3, 7, 11, 15] {
            let opcode = try #require(WebSocketOpcode(encodedWebSocketOpcode: UInt8(reserved)))
            #expect(code(frame(opcode)) == 1002)
        }
        #expect(code(frame(.continuation)) == 1002)
        #expect(code(frame(.text, fin: false), frame(.text)) == 1002)
        #expect(code(frame(.binary, fin: false), frame(.text)) == 1002)
        #expect(code(frame(.ping, fin: false)) == 1002)
        #expect(code(frame(.ping, Array(repeating: 0, count: 126))) == 1002)
    }

    @Test func messagesAreLimited() {
        #expect(code(frame(.text, Array(repeating: 97, count: 10))) == nil)
        #expect(code(frame(.text, Array(repeating: 97, count: 11))) == 1009)
        #expect(code(frame(.binary, Array(repeating: 97, count: 21))) == 1009)
        let half = Array(repeating: 97 as UInt8, count: 6)
        #expect(
            code(frame(.text, half, fin: false), frame(.continuation, half, fin: false)) == 1009
        )
        let empty = frame(.continuation, fin: false)
        #expect(code(frame(.text, fin: false), empty, empty, empty) == nil)
        #expect(code(frame(.text, fin: false), empty, empty, empty, empty) == 1009)
    }

    @Test(
        arguments: [
            [0xC3], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
        ] as [[UInt8]]
    )
    func textIsValidUTF8(bytes: [UInt8]) {
        #expect(code(frame(.text, bytes)) == 1007)
        #expect(code(frame(.binary, bytes)) == nil)
    }

    @Test(
        arguments: [
            ([], 1000), ([0x03, 0xE8], 1000), ([0x0F, 0xA0, 0x61], 4000), ([0x03], nil),
            ([0x03, 0xED], nil),
            ([0x03, 0xEE], nil), ([0x00, 0x00], nil), ([0x13, 0x88], nil),
        ] as [([UInt8], UInt16?)]
    )
    func closeFramesAreAnswered(payload: [UInt8], answer: UInt16?) {
        var assembler = MessageAssembler(limits)
        do {
            let event = try assembler.receive(frame(.connectionClose, payload))
            #expect(event == .close(WebSocketClose(answer ?? 0)))
        } catch {
            #expect(answer == nil)
            #expect(error.code == 1002)
        }
    }

    @Test func closeReasonsAreTextAndShort() {
        #expect(code(frame(.connectionClose, [0x03, 0xE8, 0xFF])) == 1007)
        let payload = WebSocketClose(1011, String(repeating: "ä", count: 200)).payload
        #expect(payload.readableBytes == 2 + 122)
    }
}
