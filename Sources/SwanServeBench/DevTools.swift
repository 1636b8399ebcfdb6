import Foundation
import NIOCore
import SwanSystem

/// A connection to a Chromium by its DevTools protocol.
final class DevTools: @unchecked Sendable {
    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private var socket: WebSocketClient?
    private var answers: [Int: String] = [:]
    private var lastNumber = 0
    private var isClosed = false

    /// Connects to the address that Chromium prints.
    init(_ address: String, on loop: any EventLoop) throws {
        guard let url = URLComponents(string: address), let port = url.port else {
            throw SwanError(.libraryFailed, "'\(address.printable())' is no address of a browser")
        }
        let socket = try WebSocketClient.connect(port: port, path: url.path, on: loop) {
            [weak self] in self?.take($0)
        }.wait()
        condition.withLock { self.socket = socket }
    }

    /// Calls a method and returns its result.
    ///
    /// - Parameter session: The page that the method is for; nil for the browser.
    func call<Result: Decodable>(
        _ method: String,
        _ parameters: [String: Any] = [:],
        session: String? = nil,
        as type: Result.Type,
        within seconds: Double = 30
    ) throws -> Result {
        let number = condition.withLock {
            lastNumber += 1
            return lastNumber
        }
        var request: [String: Any] = ["id": number, "method": method, "params": parameters]
        request["sessionId"] = session
        let data = try JSONSerialization.data(withJSONObject: request)
        condition.withLock { socket }?.send(String(decoding: data, as: UTF8.self))
        let text = try answer(number, to: method, within: seconds)
        let answer = try JSONDecoder().decode(Answer<Result>.self, from: Data(text.utf8))
        guard let result = answer.result else {
            let reason = answer.error?.message ?? "no result"
            throw SwanError(.libraryFailed, "the browser: \(method): \(reason.printable())")
        }
        return result
    }

    private func answer(
        _ number: Int,
        to method: String,
        within seconds: Double
    ) throws(SwanError) -> String {
        let deadline = Date.now.addingTimeInterval(seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let text = answers.removeValue(forKey: number) { return text }
            guard !isClosed, condition.wait(until: deadline) else {
                let why = isClosed ? "it has ended" : "no answer within \(seconds) s"
                throw SwanError(.libraryFailed, "the browser: \(method): \(why)")
            }
        }
    }

    private func take(_ message: WebSocketClient.Message) {
        switch message {
        case .text(let text):
            // Events have no number and are not needed.
            guard
                let number = try? JSONDecoder().decode(Number.self, from: Data(text.utf8)).id
            else { return }
            condition.withLock {
                answers[number] = text
                condition.broadcast()
            }
        case .binary: break
        case .closed:
            condition.withLock {
                isClosed = true
                condition.broadcast()
            }
        }
    }

    private struct Number: Decodable { let id: Int? }

    private struct Answer<Result: Decodable>: Decodable {
        struct Failure: Decodable { let message: String }

        let result: Result?
        let error: Failure?
    }

    /// A result of which nothing is needed.
    struct Nothing: Decodable {}
}
