import Foundation
import NIOCore
import SwanSystem

/// A headless Chromium with a fake camera and one page.
struct Browser {
    private let child: ChildProcess
    private let tools: DevTools
    private let session: String

    /// The first Chromium or Chrome in `PATH`; nil if there is none.
    static var installed: String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return ["chromium", "chromium-browser", "google-chrome", "chrome"].lazy
            .flatMap { name in folders.map { "\($0)/\(name)" } }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// Starts a browser and opens a page.
    ///
    /// - Parameters:
    ///   - camera: A video in YUV4MPEG2 that the camera shows.
    ///   - folder: A folder for the browser's profile.
    init(
        _ program: String,
        url: String,
        camera: String,
        folder: String,
        on loop: any EventLoop
    ) throws {
        child = try ChildProcess(
            program,
            [
                // A sandbox needs rights that containers lack; the page is our own.
                "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--remote-debugging-port=0",
                "--user-data-dir=\(folder)", "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream", "--use-file-for-fake-video-capture=\(camera)",
                "--window-size=1400,900", "about:blank",
            ]
        )
        do {
            let address = try child.word(startingWith: "ws://", within: 30)
            tools = try DevTools(address, on: loop)
            session = try Self.open(url, tools)
        } catch {
            child.stop()
            throw error
        }
    }

    private static func open(_ url: String, _ tools: DevTools) throws -> String {
        struct Target: Decodable { let targetId: String }
        struct Attachment: Decodable { let sessionId: String }
        let target = try tools.call("Target.createTarget", ["url": url], as: Target.self)
        let attachment = try tools.call(
            "Target.attachToTarget",
            ["targetId": target.targetId, "flatten": true],
            as: Attachment.self
        )
        return attachment.sessionId
    }

    /// Ends the browser.
    func stop() { child.stop() }

    /// Evaluates an expression in the page.
    func evaluate<Value: Decodable>(
        _ expression: String,
        as type: Value.Type = Value.self
    ) throws -> Value {
        let result = try tools.call(
            "Runtime.evaluate",
            [
                "expression": expression, "returnByValue": true, "awaitPromise": true,
                "userGesture": true,
            ],
            session: session,
            as: Evaluation<Value>.self
        )
        guard let value = result.result.value, result.exceptionDetails == nil else {
            let why = result.exceptionDetails?.text ?? "no value"
            throw SwanError(
                .libraryFailed,
                "the page: \(expression.printable(limit: 80)): \(why.printable())"
            )
        }
        return value
    }

    /// Waits until an expression is true in the page.
    func wait(until expression: String, seconds: Double = 30) throws {
        let deadline = Date.now.addingTimeInterval(seconds)
        while try !evaluate("Boolean(\(expression))", as: Bool.self) {
            guard Date.now < deadline else {
                throw SwanError(
                    .libraryFailed,
                    "the page: not true within \(seconds) s: \(expression.printable())"
                )
            }
            Thread.sleep(forTimeInterval: 0.05)
        }
    }
}

/// The answer to the evaluation of an expression.
private struct Evaluation<Value: Decodable>: Decodable {
    struct Object: Decodable { let value: Value? }
    struct Exception: Decodable { let text: String }

    let result: Object
    let exceptionDetails: Exception?
}
